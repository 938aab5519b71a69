"""XML as the same tree as JSON: local names, `@attribute`, `#text`, lists for repeated elements, everything text.

Hostile documents are refused: no DOCTYPE, no entities, no network, limited depth.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from lxml import etree

from connectorlib.errors import Failed
from connectorlib.formats.body_assembly import BodyAssembly
from connectorlib.formats.strictness import check_count, check_size, not_decodable, not_encodable, too_deep, too_large
from connectorlib.shared_settings import Limits
from connectorlib.values.text import kind_of, quoted, shorten, text_of

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_NIL = f"{{{_XSI}}}nil"
#: `_x0020_`: how SQL/XML (ISO 9075-14) and SQL Server write what an XML name cannot hold.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4}|[0-9A-Fa-f]{8})_")
#: lxml takes quadratic time to list them: two and a half minutes for the 90,000 that a megabyte can hold.
_MOST_ATTRIBUTES = 256
_BOMS = (b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe")
_ASCII_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")


class XmlFormat:
    content_type = "application/xml"
    encoding = "utf-8"
    heeds_charset = True

    def __init__(self, root: str | None, record: str | None, limits: Limits) -> None:
        self._root = root
        self._record = record
        #: The element around several records.
        self._holder = root or ("rows" if record != "rows" else "records")
        self.limits = limits
        self._parsers = threading.local()  # parsers are not thread-safe

    # --- reading -----------------------------------------------------------------------------------------------------

    def decode(self, body: bytes, charset: str | None = None) -> list[Any]:
        check_size(body, self.limits)
        elements = self._elements(self._parse(body, charset))
        check_count(elements, self.limits)
        depth = self.limits.depth
        return [_record_of(_read(element, depth, self.limits)) for element in elements]

    def _parse(self, body: bytes, charset: str | None) -> etree._Element:
        """Return the root. A byte order mark goes before the charset, which goes before the declaration (RFC 7303)."""
        if body.startswith(_BOMS):
            charset = None
        try:
            text = body if charset in (None, "utf-8") else body.decode(str(charset)).encode()
            root = etree.fromstring(text, self._parser(None if charset is None else "utf-8"))
        except etree.XMLSyntaxError as error:
            raise self._failure(error) from error
        except (ValueError, LookupError) as error:
            raise not_decodable(str(error)) from error
        document = root.getroottree().docinfo
        # Entities would become nodes and lose text silently, so no document type is accepted.
        if document.doctype or document.internalDTD is not None:
            raise not_decodable("a DOCTYPE, which is not accepted")
        return root

    def _parser(self, encoding: str | None) -> etree.XMLParser:
        name = encoding or "declared"
        parser: etree.XMLParser | None = getattr(self._parsers, name, None)
        if parser is None:
            parser = etree.XMLParser(
                encoding=encoding,
                resolve_entities=False,
                no_network=True,
                load_dtd=False,
                dtd_validation=False,
                huge_tree=False,
                recover=False,
                remove_pis=True,
                remove_comments=True,
            )
            setattr(self._parsers, name, parser)
        return parser

    def _failure(self, error: etree.XMLSyntaxError) -> Failed:
        text = str(error.msg or error)
        return too_deep(self.limits) if "xcessive depth" in text else not_decodable(text)

    def _elements(self, root: etree._Element) -> list[etree._Element]:
        """Return the elements that are records: the root, or its children of that name."""
        name = _local(str(root.tag))
        if self._record is None:
            if self._root not in (None, name):
                raise not_decodable(f"the root is <{name}>, not <{self._root}>")
            return [root]
        if name == self._record:
            return [root]
        if self._root not in (None, name):
            raise not_decodable(f"the root is <{name}>, neither <{self._root}> nor <{self._record}>")
        found = [child for child in root if _local(str(child.tag)) == self._record]
        if not found and (len(root) or name != self._holder):
            raise not_decodable(f"no <{self._record}> in <{name}>")
        return found

    # --- writing -----------------------------------------------------------------------------------------------------

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Return one record as the root element, unless `root` is configured; several need `record`."""
        if self._record is None and len(records) != 1:
            raise not_encodable(f"{len(records)} records in one body need format.record, the name of their element")
        spaces = _namespaces(records)
        if len(records) == 1 and (self._record is None or self._root is None):
            top = etree.Element(self._record or self._root or "row", nsmap=spaces)
            _write(top, records[0])
        else:
            top = etree.Element(self._holder, nsmap=spaces)
            for record in records:
                _write(etree.SubElement(top, self._record or "row"), record)
        return etree.tostring(top, encoding="utf-8", xml_declaration=True)

    def assembly(self, columns: Sequence[str]) -> BodyAssembly:
        """Return how a root element with a child for each record is put together. A record with a null declares the
        namespace of that by itself, for the root is written before it is known."""
        if self._record is None:
            raise not_encodable("many records in one body need format.record, the name of their element")
        name = self._record

        def piece(record: Mapping[str, Any]) -> bytes:
            element = etree.Element(name, nsmap=_namespaces((record,)))
            _write(element, record)
            return etree.tostring(element, encoding="utf-8", xml_declaration=False)

        head = f"<?xml version='1.0' encoding='utf-8'?>\n<{self._holder}>".encode()
        return BodyAssembly(piece, lambda count: head, tail=f"</{self._holder}>".encode())


def _namespaces(records: Sequence[Mapping[str, Any]]) -> dict[str | None, str] | None:
    """Return what is declared for these records: nothing, unless one has a null."""
    return {"xsi": _XSI} if any(value is None for record in records for value in record.values()) else None


def _read(element: etree._Element, depth: int, limits: Limits) -> Any:
    if not len(element) and not element.keys():
        return element.text or ""
    if depth <= 1 and len(element):
        raise too_deep(limits)
    if element.get(_NIL, "").strip() in ("true", "1"):
        if len(element) or (element.text or "").strip():
            raise not_decodable(f"<{_local(str(element.tag))}> is xsi:nil and has content")
        return None
    fields = _read_attributes(element)
    texts = [element.text or ""]
    for child in element:
        leaf = not len(child) and not child.keys()
        _add(fields, _local(str(child.tag)), (child.text or "") if leaf else _read(child, depth - 1, limits))
        if tail := child.tail:
            texts.append(tail)
    text = "".join(texts)
    if not fields:
        return text  # xsi:nil="false" was its only attribute
    if text.strip() or (text and not len(element)):
        fields["#text"] = text
    return fields


def _read_attributes(element: etree._Element) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if not element.keys():
        return fields
    if len(element.attrib) > _MOST_ATTRIBUTES:
        raise too_large(f"<{shorten(_local(str(element.tag)), 60)}> has {len(element.attrib)} attributes")
    for full_name, value in element.attrib.items():
        if full_name == _NIL:
            continue
        name = "@" + _local(str(full_name))
        if name in fields:
            raise not_decodable(
                f"<{_local(str(element.tag))}> has two attributes {quoted(name)}, of different namespaces"
            )
        fields[name] = value
    return fields


def _add(fields: dict[str, Any], name: str, value: Any) -> None:
    if name not in fields:
        fields[name] = value
    elif isinstance(fields[name], list):
        fields[name].append(value)
    else:
        fields[name] = [fields[name], value]


def _record_of(value: Any) -> Any:
    """Return the record of an element; an empty one, which as a field is an empty text, has no fields."""
    return {} if value == "" else value


@lru_cache(maxsize=4096)
def _local(name: str) -> str:
    local = name.rpartition("}")[2]
    return _ESCAPED.sub(_unescape, local) if "_x" in local else local


def _unescape(match: re.Match[str]) -> str:
    code = int(match.group(1), 16)
    harmful = code == 0 or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF
    return match.group() if harmful else chr(code)


def _write(element: etree._Element, record: Mapping[str, Any]) -> None:
    for name, value in record.items():
        field = etree.SubElement(element, _tag(name))
        if value is None:
            field.set(_NIL, "true")
            continue
        try:
            field.text = value if type(value) is str else _scalar_text(value)
        except UnicodeEncodeError as error:
            raise not_encodable(f"column {quoted(name)}: half a character (a lone surrogate)") from error
        except ValueError as error:
            text = "a control character, which XML cannot hold" if isinstance(value, str) else str(error)
            raise not_encodable(f"column {quoted(name)}: {text}") from error


def _scalar_text(value: Any) -> str:
    if isinstance(value, list | tuple | Mapping):
        raise ValueError(f"{kind_of(value)} is not one value")
    return text_of(value)


@lru_cache(maxsize=4096)
def _tag(name: str) -> str:
    """Return the element's name for a column; characters that XML names cannot hold are escaped, and read back."""
    if not name or "\0" in name:
        raise not_encodable(f"a column with the name {quoted(name)} cannot be an XML element")
    escaped = re.sub("_(?=x[0-9A-Fa-f]{4})", "_x005F_", name)
    if _ASCII_NAME.fullmatch(escaped):
        return escaped
    return "".join(char if _is_allowed(char, first=not index) else _escape(char) for index, char in enumerate(escaped))


def _escape(char: str) -> str:
    if "\ud800" <= char <= "\udfff":
        raise not_encodable("half a character (a lone surrogate) in a column's name")
    return f"_x{ord(char):04X}_" if ord(char) < 0x10000 else f"_x{ord(char):08X}_"


def _is_allowed(char: str, *, first: bool) -> bool:
    if char == ":":  # would be a namespace prefix
        return False
    try:
        etree.QName(char if first else f"a{char}")
    except ValueError:
        return False
    return True


def compile_xml(settings: Mapping[str, Any], limits: Limits) -> XmlFormat:
    """Return the format. Raise ValueError for names that no element can have."""
    root, record = settings.get("root"), settings.get("record")
    for key, name in (("root", root), ("record", record)):
        if name is not None and (not isinstance(name, str) or not name or _tag(name) != name):
            raise ValueError(f"{key} must be an XML name without a prefix, not {quoted(name)}")
    if root is not None and root == record:
        raise ValueError(f"root and record are both {root!r}: an element could be either")
    return XmlFormat(root, record, limits)
