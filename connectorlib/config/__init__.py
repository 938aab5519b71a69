"""Configuration files: JSON with positions and comments, secrets, and all problems at once in words that help.

    document = load("db.config", bundle(read_schema("dbconnector", "db.config.schema.json")))

`reading` parses, `references` resolves `${…}`, `validation` checks against the schema, `review` looks at what a schema
cannot say, `sections` turns what both connectors share into connectorlib.shared_settings.
"""

from connectorlib.config.document import Document, load
from connectorlib.config.schema import bundle, printed, read_schema
from connectorlib.config.shared_rules import Review, reviewed

__all__ = [
    "Document",
    "Review",
    "bundle",
    "load",
    "printed",
    "read_schema",
    "reviewed",
]
