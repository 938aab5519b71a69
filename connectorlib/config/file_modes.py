"""Who else can read a file that holds a secret. Goes by modes, as POSIX has them; access lists are not looked at."""

import os
import shlex
import stat
from pathlib import Path

_OTHERS = stat.S_IROTH | stat.S_IWOTH


def is_open(file: str | Path) -> bool:
    """Return whether every user of this machine could read or write a file: its mode lets them, and so do all folders
    on the way to it. False for what is no regular file (a pipe, a terminal), and for what is not there."""
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
    """Return what is wrong with an open file, and what to do."""
    return f"every user of this machine can read it: chmod o= {shlex.quote(str(file))}"


def holds_key(file: str | Path) -> bool:
    """Return whether there is a private key in a PEM file; False when it cannot be read."""
    try:
        return b"PRIVATE KEY-----" in Path(file).read_bytes()
    except OSError:
        return False
