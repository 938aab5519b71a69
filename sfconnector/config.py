"""The configuration file of sfconnector: reports every mistake at once, then returns frozen settings.

Expressions are compiled here only to find mistakes; each division compiles them again.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from connectorlib.config import bundle, notify_settings, read_schema, reviewed
from connectorlib.config.sections import (
    batch_settings,
    broker_settings,
    conditions,
    http_tls,
    journal,
    limits,
    logging_settings,
    monitoring,
    retry,
    source_settings,
    tracing,
)
from connectorlib.shared_settings import Batch, Lanes, Source
from sfconnector.alarms.alarm_config import SEVERAL_ALLOWED, alarm_settings, needs_one_reader
from sfconnector.config_merge import Merged, paced
from sfconnector.rules import review
from sfconnector.settings import (
    ALARM_BATCH,
    DEFAULT_BATCH,
    DEFAULT_HOLD_SECONDS,
    CaseSettings,
    Division,
    ExternalId,
    Reply,
    Salesforce,
    SfConfig,
)


@cache
def schema() -> dict[str, Any]:
    """Return the self-contained JSON Schema of config.json."""
    return bundle(read_schema("sfconnector", "config.schema.json"))


def load(path: str | Path, *, resolve_secrets: bool = True) -> SfConfig:
    """Given a config.json file, return the settings. Raise ConfigurationError with every mistake.

    With `resolve_secrets=False` it is for a command that works offline: variables that are set and defaults are used,
    other references stay as written.
    """
    document, warnings = reviewed(path, schema(), review, resolve_secrets=resolve_secrets)
    return _settings(str(path), document.data, document.folder, warnings)


def _settings(file: str, data: Mapping[str, Any], folder: Path, warnings: tuple[str, ...]) -> SfConfig:
    merged = Merged(data)
    budget = {key: float(value) for key, value in merged.tenant.get("api_budget", {}).items()}
    return SfConfig(
        file=file,
        broker=broker_settings(merged.tenant.get("amqp", {}), folder),
        divisions=tuple(_division(merged, name, folder) for name in merged.divisions),
        logging=logging_settings(data.get("logging", {}), folder),
        monitoring=monitoring(data.get("monitoring")),
        journal=journal(data.get("journal")),
        notify=notify_settings(data.get("notify"), folder),
        tracing=tracing(data.get("tracing")),
        warnings=warnings,
        **budget,
    )


def _division(merged: Merged, name: str, folder: Path) -> Division:
    own = merged.divisions[name]
    reply = merged.section(name, "reply")
    source, batch = _source_and_batch(merged, name)
    plain = {key: own[key] for key in ("format", "match", "priority") if key in own}
    return Division(
        name=name,
        salesforce=_salesforce(merged.section(name, "salesforce"), folder),
        source=source,
        case=_case(own["case"]),
        batch=batch,
        lanes=_lanes(merged, name),
        conditions=conditions(own),
        limits=limits(merged.section(name, "limits")),
        retry=retry(merged.section(name, "retry")),
        hold_seconds=merged.hold_seconds(name, DEFAULT_HOLD_SECONDS),
        reply=Reply(**reply) if reply else None,
        **plain,
    )


def _lanes(merged: Merged, name: str) -> Lanes:
    """Return the lanes of a division; those of alarms have the alarm's key."""
    lanes = Lanes(**merged.section(name, "lanes"))
    alarm = merged.divisions[name]["case"].get("alarm")
    return lanes if alarm is None else replace(lanes, key=alarm["key"])


def _source_and_batch(merged: Merged, name: str) -> tuple[Source, Batch]:
    """Return source and batch of a division, limited to what the lowest `rate` on the queue can handle in time."""
    alarm = merged.divisions[name]["case"].get("alarm")
    batch = batch_settings(merged.section(name, "batch"), DEFAULT_BATCH if alarm is None else ALARM_BATCH)
    section = merged.section(name, "source")
    size, lanes = batch.size, merged.lanes(name)
    prefetch = section.get("prefetch", 2 * size * lanes)
    for each in merged.sharing(name):
        rate = merged.divisions[each]["case"].get("rate")
        if rate is not None:
            held = merged.hold_seconds(name, DEFAULT_HOLD_SECONDS)
            size, prefetch = paced(size, prefetch, rate, held, lanes, section.get("shards", 1))
    batch = Batch(size, batch.wait_ms)
    source = source_settings({**section, "prefetch": prefetch}, batch)
    alone = any(needs_one_reader(merged.divisions[each]["case"]) for each in merged.sharing(name))
    return (replace(source, one_reader=SEVERAL_ALLOWED) if alone else source), batch


def _salesforce(section: Mapping[str, Any], folder: Path) -> Salesforce:
    values = dict(section)
    if "tls" in values:
        values["tls"] = http_tls(values["tls"], folder)
    for key in ("login_url", "audience"):
        if key in values:
            values[key] = values[key].rstrip("/")
    if "timeout" in values:
        values["timeout"] = float(values["timeout"])
    if "instance_hosts" in values:
        values["instance_hosts"] = tuple(values["instance_hosts"])
    return Salesforce(**values)


def _case(section: Mapping[str, Any]) -> CaseSettings:
    values = dict(section)
    if "alarm" in values:
        values["alarm"] = alarm_settings(values["alarm"])
    if "external_id" in values:
        values["external_id"] = ExternalId(**values["external_id"])
    if "required" in values:
        values["required"] = tuple(values["required"])
    return CaseSettings(**values)
