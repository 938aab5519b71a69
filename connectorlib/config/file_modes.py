"""Whether a file is one, and whether others can read one that holds a secret, by POSIX modes; access control lists are
ignored."""

import errno
import os
import shlex
import stat
from pathlib import Path

_OTHERS = stat.S_IROTH | stat.S_IWOTH


def regular(file: str, flags: int) -> int:
    """Open a file, as `opener` of `open`. Raise OSError for what is none: a pipe would hang where nobody writes into
    it, and could not be read again at a reload."""
    descriptor = os.open(file, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # which `open` refuses itself
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")


def is_open(file: str | Path) -> bool:
    """Return whether every user of this machine can read or write a regular file, by its mode and those of all its
    folders."""
    if os.name != "posix":
        return False
    real = Path(os.path.realpath(file))
    try:
        mode = real.stat().st_mode
        return (
            stat.S_ISREG(mode)
            and bool(mode & _OTHERS)
            and all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
        )
    except OSError:
        return False


def advice(file: str | Path) -> str:
    """Return the message about an open file."""
    return f"every user of this machine can read it: chmod o= {shlex.quote(str(file))}"


def holds_key(file: str | Path) -> bool:
    """Return whether a PEM file can be read and holds a private key."""
    try:
        with open(file, "rb", opener=regular) as stream:
            return b"PRIVATE KEY-----" in stream.read()
    except OSError:
        return False
