"""Bodies: bytes to records and back, in JSON, NDJSON, XML, delimited and plain text, CBOR and MessagePack. Each reads
back what it writes."""

from connectorlib.formats.content import decode_content, records_of, records_together
from connectorlib.formats.registry import Format, Record, compile_format

__all__ = ["Format", "Record", "compile_format", "decode_content", "records_of", "records_together"]
