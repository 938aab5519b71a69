"""HTML that cannot be steered by what it shows: templates are literals, values are escaped unless they are HTML."""

from collections.abc import Iterable

from markupsafe import Markup, escape

from connectorlib.values.text import printable

EMPTY = Markup()


def html(template: str, /, **values: object) -> Markup:
    """Fill a template, which has to be a literal. Every value that is no Markup becomes text: escaped, and with
    control characters and marks that turn the direction of writing as escapes that can be seen."""
    return Markup(template).format(**{name: _value(value) for name, value in values.items()})  # noqa: S704  # the seam


def joined(pieces: Iterable[Markup], between: str = "") -> Markup:
    return escape(between).join(pieces)


def raw(text: str) -> Markup:
    """Return a text that is escaped and nothing else, for a field in which it is changed."""
    return escape(text)


def _value(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return "" if value is None else printable(str(value), lines=True)
