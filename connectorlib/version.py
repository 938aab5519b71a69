"""The version of the distribution, which `pyproject.toml` takes from here."""

VERSION = "0.1.0"
