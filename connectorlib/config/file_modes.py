"""Whether others can read a file that holds a secret, by POSIX modes; access control lists are ignored."""

import os
import shlex
import stat
from pathlib import Path

_OTHERS = stat.S_IROTH | stat.S_IWOTH


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
        return b"PRIVATE KEY-----" in Path(file).read_bytes()
    except OSError:
        return False
