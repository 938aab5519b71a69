"""Configuration files: JSON with positions and comments, secrets, and all problems at once in words that help.

    document = load("db.config", bundle(read_schema("dbconnector", "db.config.schema.json")))

`reading` parses, `references` resolves `${…}`, `validation` checks against the schema, `review` looks at what a schema
cannot say, `sections` turns what both connectors share into connectorlib.settings.
"""

from connectorlib.config.document import Document, load
from connectorlib.config.durations import parse_duration
from connectorlib.config.review import Review, reviewed
from connectorlib.config.schemas import bundle, printed, read_schema

__all__ = [
    "Document",
    "Review",
    "bundle",
    "load",
    "parse_duration",
    "printed",
    "read_schema",
    "reviewed",
]
