"""Bodies: bytes to records and back, in JSON, XML and delimited text. What one writes, the same reads back."""

from connectorlib.formats.registry import Format, Record, compile_format

__all__ = ["Format", "Record", "compile_format"]
