"""The exit codes of the commands, and whether what they print can be written. Imports only the standard library."""

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the commands; the systemd units rely on them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOTHING = 3  # the queue is empty, or the query returns no rows
    UNREACHABLE = 69  # EX_UNAVAILABLE: broker or target cannot be reached
    STUCK = 75  # EX_TEMPFAIL: a deadline passed; a restart may help
    REFUSED = 77  # EX_NOPERM: a log-in was refused
    BAD_CONFIGURATION = 78  # EX_CONFIG: a restart does not help


_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)


def is_unwritable(error: BaseException) -> bool:
    """Return whether what is printed cannot be written: a full disk, or a pipe whose reader has gone."""
    return isinstance(error, OSError) and error.errno in _UNWRITABLE
