"""Configuration files: JSON with positions and comments, secrets, and all problems at once.

    document = load("db.config", bundle(read_schema("dbconnector", "db.config.schema.json")))

`json_source` parses, `secrets` resolves `${…}`, `schema_errors` words what jsonschema finds, `shared_rules` checks what
a schema cannot express, `sections` makes connectorlib.shared_settings of the sections that both connectors have.
"""

from connectorlib.config.document import Document, load
from connectorlib.config.notify_rules import notify_settings, review_notify
from connectorlib.config.schema import bundle, printed, read_schema
from connectorlib.config.shared_rules import Review, reviewed

__all__ = [
    "Document",
    "Review",
    "bundle",
    "load",
    "notify_settings",
    "printed",
    "read_schema",
    "review_notify",
    "reviewed",
]
