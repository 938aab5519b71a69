"""What is too long for memory, in a file that nobody else sees and that is gone with the process."""

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO

from connectorlib.errors import Failed, Failure, Kind

#: Bytes that stay in memory.
IN_MEMORY = 1024 * 1024


def temporary_file() -> IO[bytes]:
    """Return an empty file, which whoever uses it closes; it is in memory while it is small."""
    return SpooledTemporaryFile(IN_MEMORY)


@contextmanager
def using_file(place: str) -> Iterator[None]:
    """Raise what the file system refuses within the block as Failed: it may be better later."""
    try:
        yield
    except OSError as error:
        text = f"a temporary file in {gettempdir()}: {error.strerror} (TMPDIR names another folder)"
        raise Failed(Failure(Kind.UNAVAILABLE, "temporary-file", text, place)) from error
