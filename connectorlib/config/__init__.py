"""Configuration files: JSON with positions and comments, secrets, and all problems at once.

    document = load("db.config", bundle(read_schema("dbconnector", "db.config.schema.json")))

`json_source` parses, `secrets` resolves `${…}`, `schema_errors` words what jsonschema finds, `review` and the `*_rules`
check what a schema cannot express, `sections` makes connectorlib.shared_settings of what both connectors have.
"""

from connectorlib.config.document import Document, load
from connectorlib.config.notify_rules import notify_settings, review_notify
from connectorlib.config.review import Review, reviewed
from connectorlib.config.schema import bundle, printed, read_schema

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
