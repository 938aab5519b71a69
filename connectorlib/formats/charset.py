"""`charset`: the encodings of a text that a message may name, as IANA lists them and Python knows them."""

import encodings
import re
from encodings.aliases import aliases
from functools import cache, lru_cache

from connectorlib.formats.strictness import compile_encoding, not_decodable
from connectorlib.values.text import quoted

#: Encodings of Python that no message can mean; some take quadratic time.
_PYTHON_ONLY = {"idna", "mbcs", "oem", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}
_CHARSET = re.compile(r""";\s*charset\s*=\s*(?:"([^"]*)"|([^\s;"]*))""", re.IGNORECASE)


@lru_cache(256)
def charset_in(content_type: str) -> str | None:
    """Return the encoding that a content type names, as Python spells it; None without one. Raise Failed (reject) for
    one that is not known."""
    found = _CHARSET.search(content_type)
    if found is None:
        return None
    name = found[1] or found[2] or ""
    if not is_charset(name):
        raise not_decodable(f"content_type names the charset {quoted(name)}, which is not known")
    return compile_encoding(name)


@lru_cache(256)
def is_charset(name: str) -> bool:
    """Return whether a text is the name of a charset."""
    if _normal(name) not in _known():  # Python would keep every name that it was ever asked for
        return False
    try:
        return compile_encoding(name).replace("-", "_") not in _PYTHON_ONLY
    except ValueError:  # a codec of bytes, such as zlib
        return False


@cache
def _known() -> frozenset[str]:
    import pkgutil  # late: few messages name a charset

    modules = (each.name for each in pkgutil.iter_modules(encodings.__path__))
    return frozenset([*aliases, *modules])


def _normal(name: str) -> str:
    return re.sub("[-. ]+", "_", name.strip().lower())
