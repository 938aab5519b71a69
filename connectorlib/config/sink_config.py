"""The configuration of a program with one sink: the shared sections, and a section of the sink's own."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from connectorlib.config.broker_rules import review_broker
from connectorlib.config.notify_rules import notify_settings, review_notify
from connectorlib.config.review import Review, reviewed
from connectorlib.config.schema import COMMON_ID, Schema, bundle
from connectorlib.config.sections import (
    batch_settings,
    broker_settings,
    journal,
    logging_settings,
    monitoring,
    retry,
    source_settings,
    tracing,
)
from connectorlib.config.source_rules import review_source
from connectorlib.dataclass import dataclass
from connectorlib.shared_settings import (
    Batch,
    BrokerSettings,
    DeadLetterSettings,
    Journal,
    Limits,
    Logging,
    Monitoring,
    Notify,
    Retry,
    Source,
    Tracing,
)

_DEFINITIONS = f"{COMMON_ID}#/$defs"
_SHARED = ("batch", "retry", "hold_seconds", "logging", "monitoring", "journal", "notify", "tracing")


@dataclass(frozen=True, slots=True)
class SinkConfig:
    file: str
    name: str
    broker: BrokerSettings
    source: Source
    batch: Batch
    retry: Retry
    hold_seconds: float
    logging: Logging
    monitoring: Monitoring | None
    journal: Journal | None
    notify: Notify | None
    tracing: Tracing | None
    #: The sink's own section, which may hold secrets.
    settings: Mapping[str, Any] = field(repr=False)
    warnings: tuple[str, ...]


def sink_schema(section: str, schema: Schema) -> dict[str, Any]:
    """Given the name and the schema of the sink's own section, return the schema of the whole configuration."""
    source = {"$ref": f"{_DEFINITIONS}/source", "required": ["queue"]}
    broker = {"properties": {"source": source}, "required": ["source"], "unevaluatedProperties": False}
    return bundle(
        {
            "type": "object",
            "properties": {
                "$schema": {"type": "string"},
                "name": {"type": "string", "minLength": 1, "maxLength": 255},
                "broker": {"$ref": f"{_DEFINITIONS}/broker", **broker},
                section: schema,
                **{each: {"$ref": f"{_DEFINITIONS}/{each}"} for each in _SHARED},
            },
            "required": ["broker", section],
            "additionalProperties": False,
        }
    )


def load_sink_config(file: str, section: str, schema: Schema) -> SinkConfig:
    """Return the settings of a configuration file. Raise ConfigurationError with everything that is wrong in it."""
    document, warnings = reviewed(file, sink_schema(section, schema), _review)
    data, folder = document.data, document.folder
    batch = batch_settings(data.get("batch", {}))
    source = source_settings(data["broker"]["source"], batch)
    return SinkConfig(
        file=file,
        name=data.get("name", source.queue),
        broker=broker_settings(data["broker"], folder),
        source=source,
        batch=batch,
        retry=retry(data.get("retry", {})),
        hold_seconds=float(data.get("hold_seconds", 300)),
        logging=logging_settings(data.get("logging", {}), folder),
        monitoring=monitoring(data.get("monitoring")),
        journal=journal(data.get("journal")),
        notify=notify_settings(data.get("notify"), folder),
        tracing=tracing(data.get("tracing")),
        settings=data[section],
        warnings=warnings,
    )


def _review(found: Review) -> None:
    review_broker(found, ("broker",))
    review_notify(found)
    dead_letter = DeadLetterSettings(**found.section("broker", "dead_letter"))
    review_source(found, ("broker", "source"), dead_letter, Batch(**found.section("batch")), Limits())
