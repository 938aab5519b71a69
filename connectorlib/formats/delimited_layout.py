"""The layout of delimited text, and its strict splitting into fields. The `csv` module merges an unclosed `"abc` with
the next line, takes `""` for an empty field without quotes, and knows delimiters of one character only."""

import re
from collections.abc import Sequence
from functools import cached_property

from connectorlib.dataclass import dataclass
from connectorlib.formats.strictness import not_decodable


class Quoted(str):
    """A field in quotes: never null, never trimmed."""

    __slots__ = ()


@dataclass(frozen=True)
class Layout:
    delimiter: str
    quote: str | None
    separator: str | None  # between records; None: any line end
    null: str  # the text without quotes that means null
    trim: bool

    @property
    def special(self) -> str:
        """Every character with a meaning. A value with one is quoted: with the delimiter `||`, a `|` at its end would
        move the delimiter."""
        return self.delimiter + (self.separator or "\r\n") + (self.quote or "")

    @cached_property
    def _field(self) -> re.Pattern[str]:
        quote, delimiter = re.escape(self.quote or ""), re.escape(self.delimiter)
        end = re.escape(self.separator) if self.separator else r"\r\n|\r|\n"
        if len(self.delimiter) == 1 and len(self.separator or "\n") == 1:
            bare = f"[^{re.escape(self.special)}]*+"
        else:
            bare = f"(?:(?!{delimiter}|{end}|{quote}).)*+"
        space = "".join(char for char in " \t" if self.trim and char not in self.special)
        space = f"[{space}]*+" if space else ""
        return re.compile(
            rf"(?:{space}{quote}(?P<quoted>(?:[^{quote}]|{quote}{quote})*+){quote}{space}"
            rf"|(?P<bare>{bare}))(?:(?P<more>{delimiter})|{end}|\Z)",
            re.DOTALL,
        )

    def split(self, text: str, most: int) -> list[list[str]]:
        """Return the fields of each record, of `most` + 1 records at most. The last record needs no separator. Raise
        Failed (reject) for unbalanced quotes."""
        if self.quote and self.quote in text:
            return self._split_quoted(text, most)
        if self.separator:
            lines = text.split(self.separator)
        else:
            lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if not lines[-1]:
            lines.pop()
        return [line.split(self.delimiter) for line in lines[: most + 1]]

    def _split_quoted(self, text: str, most: int) -> list[list[str]]:
        rows: list[list[str]] = []
        row: list[str] = []
        position = 0
        more = False
        while (position < len(text) or more) and len(rows) <= most:
            match = self._field.match(text, position)
            if match is None:
                raise self._bad_quotes(position, len(rows) + 1, len(row) + 1)
            row.append(self._text(match))
            position = match.end()
            more = match["more"] is not None
            if not more:
                rows.append(row)
                row = []
        return rows

    def _text(self, match: re.Match[str]) -> str:
        quoted = match["quoted"]
        if quoted is None:
            return match["bare"]
        quote = self.quote or ""
        return Quoted(quoted.replace(quote * 2, quote))

    def _bad_quotes(self, position: int, record: int, field: int) -> Exception:
        return not_decodable(
            f"record {record}, field {field} (character {position + 1}): a quote that is not closed, or stands inside "
            f"a field; format.quote null makes quotes plain text"
        )

    def value(self, field: str) -> str | None:
        """Return the value of a field, None for null."""
        if type(field) is Quoted:
            return str(field)
        if self.trim:
            field = field.strip()
        return None if field == self.null else field

    def line(self, fields: Sequence[str | None], trailing: bool) -> str:
        """Return the line of one record, None being null, with the separator."""
        if self.quote is None or self._all_plain(fields):
            parts = [self.null if field is None else field for field in fields]
        else:
            parts = [self._write(field) for field in fields]
        return self.delimiter.join(parts) + (self.delimiter if trailing else "") + (self.separator or "\n")

    def _all_plain(self, fields: Sequence[str | None]) -> bool:
        """Return whether no field needs quotes, as in most records, by one search of all together."""
        return not self.trim and self.null not in fields and not self._specials.search("".join(filter(None, fields)))

    def _write(self, text: str | None) -> str:
        if text is None:
            return self.null
        if text == self.null or self._specials.search(text) or (self.trim and text != text.strip()):
            quote = self.quote or ""
            return quote + text.replace(quote, quote * 2) + quote
        return text

    @cached_property
    def _specials(self) -> re.Pattern[str]:
        # At the beginning of a body U+FEFF would be read as a byte order mark.
        return re.compile(f"[{re.escape(self.special)}\ufeff]")
