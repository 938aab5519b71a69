"""Links to a page that survive the sign-in: where to go on to afterwards. Pure."""

import re
from urllib.parse import urlencode

#: Characters of a link that is followed.
LONGEST = 2_000
#: One slash, then neither a slash nor a backslash, which browsers take for one: `//host` and `/\host` lead elsewhere.
#: Browsers drop tabs and line ends, so only visible ASCII is left.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def local_path(text: str) -> str:
    """Return the path that was asked for, with its query, if it leads to this server; else "/"."""
    return text if len(text) <= LONGEST and _LOCAL.fullmatch(text) else "/"


def login_path(onward: str) -> str:
    """Return the path of the sign-in that goes on to a page."""
    wanted = local_path(onward)
    return "/login" if wanted == "/" else f"/login?{urlencode({'next': wanted})}"
