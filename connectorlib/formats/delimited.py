"""Delimited text: any delimiter, strict about quotes and about the number of fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from connectorlib.formats.body_assembly import BodyAssembly
from connectorlib.formats.delimited_layout import Layout, Quoted
from connectorlib.formats.strictness import (
    check_count,
    check_size,
    compile_encoding,
    first_repeated,
    not_decodable,
    not_encodable,
)
from connectorlib.shared_settings import Limits
from connectorlib.values.text import kind_of, listed, quoted, text_of

_BOM = "\ufeff"
#: Encodings that read back what they write; others are verified (Shift JIS reads ¥ back as a backslash).
_EXACT = frozenset({"utf-8", "ascii", "iso8859-1"})
_CONTENT_TYPES = {",": "text/csv", "\t": "text/tab-separated-values"}


class DelimitedFormat:
    def __init__(
        self,
        layout: Layout,
        columns: tuple[str, ...] | None,
        limits: Limits,
        *,
        header: bool,
        trailing: bool,
        encoding: str | None,
    ) -> None:
        """`encoding` None: what the message says, else UTF-8."""
        self._layout = layout
        self._columns = columns
        self.limits = limits
        self._header = header
        self._trailing = trailing
        self.encoding = encoding or "utf-8"
        self.heeds_charset = encoding is None
        charset = self.encoding.replace("iso8859-", "iso-8859-").replace("cp125", "windows-125")
        self.content_type = f"{_CONTENT_TYPES.get(layout.delimiter, 'text/plain')}; charset={charset}"

    # --- reading -----------------------------------------------------------------------------------------------------

    def decode(self, body: bytes, charset: str | None = None) -> list[Any]:
        check_size(body, self.limits)
        text = _decoded(body, charset or self.encoding)
        if not text:
            raise not_decodable("the body is empty")
        rows = self._layout.split(text, most=self.limits.records + self._header)
        names: Sequence[str] = self._columns or ()
        if self._header:
            names = self._read_header(rows.pop(0))
        check_count(rows, self.limits)
        value = self._layout.value
        records = [
            dict(zip(names, map(value, self._fields(row, names, number)), strict=True))
            for number, row in enumerate(rows, 1)
        ]
        if "\0" in text:
            _refuse_nul(records)
        return records

    def _fields(self, row: list[str], names: Sequence[str], number: int) -> list[str]:
        expected = len(names) + self._trailing
        if len(row) != expected:
            raise not_decodable(self._wrong_number(row, len(names), number))
        if not self._trailing:
            return row
        if not _is_empty(row[-1]):
            raise not_decodable(f"record {number}: text after the last delimiter")
        return row[:-1]

    def _wrong_number(self, row: list[str], expected: int, number: int) -> str:
        """Return the message about a record's number of fields; a trailing delimiter makes no field."""
        found = len(row) - (self._trailing and _is_empty(row[-1]))
        if self._trailing and not _is_empty(row[-1]):
            return f"record {number}: {expected} fields and a delimiter behind them expected, {found} fields found"
        empty = " (an empty line)" if row == [""] else ""
        return f"record {number}: {expected} fields expected, {found} found{empty}"

    def _read_header(self, row: list[str]) -> list[str]:
        fields = row[:-1] if self._trailing and _is_empty(row[-1]) else row
        trim = self._layout.trim
        names = [str(name).strip() if trim and type(name) is not Quoted else str(name) for name in fields]
        repeated = first_repeated(names)
        if repeated is not None or "" in names:
            raise not_decodable(f"the header names {quoted(repeated or '')} twice or not at all")
        if self._columns is not None and set(names) != set(self._columns):
            raise not_decodable(f"the header names {_names(names)}, expected are {_names(self._columns)}")
        return names

    # --- writing -----------------------------------------------------------------------------------------------------

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        columns = self._columns or (tuple(records[0]) if records else ())
        rows = [[_field_text(record, column) for column in columns] for record in records]
        if self._columns is None:
            _refuse_other_columns(records, columns)
        return self._encoded(rows, columns, header=self._header)

    def assembly(self, columns: Sequence[str]) -> BodyAssembly:
        """Return how a header line, if there is one, and a line for each record are put together."""
        columns = self._columns or columns
        mark = "".encode(self.encoding)  # a byte order mark: only at the beginning

        def piece(record: Mapping[str, Any]) -> bytes:
            row = [_field_text(record, column) for column in columns]
            return self._encoded([row], columns, header=False).removeprefix(mark)

        head = self._encoded([], columns, header=True) if self._header else mark
        return BodyAssembly(piece, lambda count: head)

    def _encoded(self, rows: list[list[str | None]], columns: Sequence[str], *, header: bool) -> bytes:
        lines = [*([list[str | None](columns)] if header else []), *rows]
        if not lines or not columns:
            raise not_encodable("no records, which a body without a header cannot say")
        text = "".join(self._layout.line(line, self._trailing) for line in lines)
        if self._layout.quote is None:
            self._check_unquoted(text, lines, columns)
        return self._bytes(text, rows, columns)

    def _check_unquoted(self, text: str, lines: list[list[str | None]], columns: Sequence[str]) -> None:
        """Raise Failed if the text, which has no quotes, does not read back the same."""
        split = self._layout.split(text.removeprefix(_BOM), most=len(lines))
        value = self._layout.value
        last = -1 if self._trailing else None
        if [[value(field) for field in row[:last]] for row in split] == lines:
            return
        for line in lines:
            for column, field in zip(columns, line, strict=True):
                alone = self._layout.split(self._layout.line([field], False).removeprefix(_BOM), most=1)
                if [[value(part) for part in row] for row in alone] != [[field]]:
                    raise not_encodable(f"column {quoted(column)}: {quoted(field)} would not read back without quotes")
        raise not_encodable("a value holds a part of the delimiter and would not read back without quotes")

    def _bytes(self, text: str, rows: list[list[str | None]], columns: Sequence[str]) -> bytes:
        for row in rows if "\0" in text else []:
            for column, field in zip(columns, row, strict=True):
                if field is not None and "\0" in field:
                    raise not_encodable(f"column {quoted(column)}: a NUL character")
        if self._reads_back(text):
            return text.encode(self.encoding)
        for row in rows:
            for column, field in zip(columns, row, strict=True):
                if field is not None and not self._reads_back(field):
                    raise not_encodable(f"column {quoted(column)}: a character that {self.encoding} does not have")
        raise not_encodable(f"a character that {self.encoding} does not have")

    def _reads_back(self, text: str) -> bool:
        try:
            body = text.encode(self.encoding)
            return self.encoding in _EXACT or body.decode(self.encoding) == text
        except UnicodeError:
            return False


def _decoded(body: bytes, encoding: str) -> str:
    try:
        text = body.decode(encoding)
        if encoding not in _EXACT:
            text.encode("utf-8")  # some encodings accept lone surrogates
    except UnicodeError as error:
        raise not_decodable(str(error)) from error
    return text.removeprefix(_BOM)


def _is_empty(field: str) -> bool:
    """Return whether a field has no characters, not even quotes."""
    return not field and type(field) is not Quoted


def _field_text(record: Mapping[str, Any], column: str) -> str | None:
    try:
        value = record[column]
    except KeyError:
        value = _any_case(record, column)
    if value is None or type(value) is str:
        return value
    if isinstance(value, list | tuple | Mapping):
        raise not_encodable(f"column {quoted(column)}: {kind_of(value)} is not one value")
    try:
        return text_of(value)
    except ValueError as error:
        raise not_encodable(f"column {quoted(column)}: {error}") from error


def _any_case(record: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column whose name differs in case, which depends on the database."""
    for name, value in record.items():
        if name.lower() == column.lower():
            return value
    raise not_encodable(f"the row has no column {quoted(column)}; here are {_names(list(record))}")


def _refuse_other_columns(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    for record in records:
        if len(record) != len(columns):
            raise not_encodable(f"a row has {_names(list(record))}, the first one {_names(columns)}")


def _refuse_nul(records: list[dict[str, Any]]) -> None:
    for record in records:
        for name, value in record.items():
            if "\0" in name or (value is not None and "\0" in value):
                raise not_decodable(f"column {quoted(name)}: a NUL character")


def _names(names: Sequence[str]) -> str:
    return listed((quoted(name, 40) for name in names), 10)


# --- settings --------------------------------------------------------------------------------------------------------


def compile_delimited(settings: Mapping[str, Any], limits: Limits) -> DelimitedFormat:
    """Return the format. Raise ValueError for settings that contradict each other."""
    layout = _compile_layout(settings)
    header = settings.get("header", False)
    columns = _compile_columns(settings.get("columns"), header)
    encoding = settings.get("encoding")
    return DelimitedFormat(
        layout,
        columns,
        limits,
        header=header,
        trailing=settings.get("trailing_delimiter", False),
        encoding=None if encoding is None else compile_encoding(encoding),
    )


def _compile_layout(settings: Mapping[str, Any]) -> Layout:
    delimiter, quote = settings.get("delimiter", ","), settings.get("quote", '"')
    separator, null = settings.get("record_separator"), settings.get("null")
    null = "" if null is None else null
    for key, text in (("delimiter", delimiter), ("record_separator", separator)):
        if text is not None and (not isinstance(text, str) or not text):
            raise ValueError(f"{key} must be one or more characters")
    if quote is not None and (not isinstance(quote, str) or len(quote) != 1):
        raise ValueError("quote must be one character, or null for none")
    if not isinstance(null, str):
        raise ValueError("null must be text")
    layout = Layout(delimiter, quote, separator, null, settings.get("trim", False))
    _refuse_shared(layout)
    return layout


def _refuse_shared(layout: Layout) -> None:
    """Raise ValueError if a character has two meanings."""
    end = layout.separator or "\r\n"
    meanings = {"delimiter": layout.delimiter, "record_separator": end, "quote": layout.quote or ""}
    pairs = [("delimiter", "record_separator"), ("delimiter", "quote"), ("record_separator", "quote")]
    for one, other in pairs:
        shared = set(meanings[one]) & set(meanings[other])
        if shared:
            raise ValueError(f"{one} and {other} share the character {min(shared)!r}")
    if set(layout.null) & set(layout.special):
        raise ValueError("null must not hold the delimiter, the quote or a line end")
    if layout.trim and layout.null != layout.null.strip():
        raise ValueError("null must not begin or end with white space, which trim takes away")


def _compile_columns(columns: Any, header: bool) -> tuple[str, ...] | None:
    if columns is None and header:
        return None
    if not isinstance(columns, list | tuple) or not columns or not all(isinstance(name, str) for name in columns):
        raise ValueError('columns must name the fields in their order (or "header": true, when the first line does)')
    if len(set(columns)) != len(columns) or "" in columns:
        raise ValueError("columns must be different names, none of them empty")
    return tuple(columns)
