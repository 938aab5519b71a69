"""The README of the built metadata, which pyproject.toml cannot express: a package index shows it without our files, so
its links are absolute there. They start with the address of `Source` in pyproject.toml. Imports only the standard
library and setuptools."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent
_LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)\s]+)")


def absolute(text: str, base: str) -> str:
    """Return Markdown whose relative links start with the address `base`."""
    return _LINK.sub(lambda link: f"{link[1]}{base}/{link[2]}", text)


def readme() -> str:
    """Return the README with links to the files of this very version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = re.search(r'VERSION = "(.+)"', (ROOT / "connectorlib/version.py").read_text())
    assert version, "connectorlib/version.py has no version"
    return absolute((ROOT / "README.md").read_text(), f"{project['urls']['Source']}/blob/v{version[1]}")


if __name__ == "__main__":
    from setuptools import setup

    setup(long_description=readme(), long_description_content_type="text/markdown")
