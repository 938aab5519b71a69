"""What the pages of all programs share: the base template, the style sheet, and headers that keep scripts out.

A page is a template in the folder `templates` of the package that shows it, and extends `base.html`. Jinja2 escapes
every value; it is imported when the first page is rendered.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

#: Response headers of every page, besides its Content-Security-Policy.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: with that, browsers send `Origin: null` with the forms of the page itself.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

#: A character of a text in HTML.
_CHARACTER = r"(?:&#?\w+;|[^\s&<])"
#: First what is no text, or holds nothing but text; then a word that a browser might break, because it is long or has a
#: hyphen; then any other word.
_PIECES = re.compile(
    rf"<(textarea|svg|option)\b.*?</\1>|<[^>]*>"
    rf"|({_CHARACTER}{{16,}}|{_CHARACTER}+?[-/?]{_CHARACTER}+)|{_CHARACTER}+",
    re.DOTALL,
)


def headers(*, forms: bool) -> dict[str, str]:
    """Return the response headers of a page that has a style sheet and no scripts, with forms or without."""
    form_action = "'self'" if forms else "'none'"
    policy = "default-src 'none'; style-src 'self'; base-uri 'none'"
    return _HEADERS | {"Content-Security-Policy": f"{policy}; form-action {form_action}; frame-ancestors 'none'"}


@cache
def style() -> bytes:
    """Return the style sheet, which pages expect at /style.css."""
    return files(__package__).joinpath("templates/style.css").read_bytes()


def whole_words(page: str, before: str, after: str) -> str:
    """Return HTML with marks around the words that a browser might break; the style sheet breaks only those that are
    longer than a line. Browsers break ids, times and names at every hyphen, and no style prevents that."""
    return _PIECES.sub(lambda found: f"{before}{found[2]}{after}" if found[2] else found[0], page)


@cache
def environment(package: str, shown: Callable[[Any], Any] | None = None) -> "Environment":
    """Return the templates of a package. `shown` gets every value before it is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined  # late, see the module
    from markupsafe import Markup

    found = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    found.filters["number"] = "{:,}".format
    found.filters["whole_words"] = lambda *page: Markup(whole_words(*page))  # noqa: S704  # it was escaped
    return found
