"""Adds a dialect to dbconnector for the time of a test: one new file, found like the others."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from dbconnector import dialects


@contextlib.contextmanager
def added(folder: Path, name: str, code: str) -> Iterator[None]:
    (folder / f"{name}.py").write_text(code)
    dialects.__path__.append(str(folder))
    dialects.known.cache_clear()
    try:
        yield
    finally:
        dialects.__path__.remove(str(folder))
        dialects.known.cache_clear()
        sys.modules.pop(f"{dialects.__name__}.{name}", None)
        vars(dialects).pop(name, None)
