"""Bodies: bytes to records and back, in JSON, NDJSON, XML, delimited and plain text. Each reads back what it writes."""

from connectorlib.formats.registry import Format, Record, compile_format

__all__ = ["Format", "Record", "compile_format"]
