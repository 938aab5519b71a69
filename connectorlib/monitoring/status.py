"""The status document of `GET /status`: plain values, times as ISO 8601, no secret.

Page and command show this document and have no other source.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectorlib.amqp.sharded_consumer import process_name
from connectorlib.amqp.shards import PRIORITIES_SINCE
from connectorlib.monitoring.flow_stats import FlowStats, LaneFacts, Pausing, ShardFacts
from connectorlib.monitoring.monitor import ConnectionFacts, Monitor
from connectorlib.monitoring.verdict import conclude
from connectorlib.pipeline.blame import Pause
from connectorlib.service import logs

Document = dict[str, Any]

#: Keys that are named for a lane, those first that most messages wait for.
MOST_KEYS = 5


def document(monitor: Monitor) -> Document:
    """Return the status of the process, with the verdict on it."""
    monitor.tick()
    found: Document = {
        "connector": monitor.connector,
        "name": monitor.name,
        "version": monitor.version,
        "file": monitor.file,
        "time": wall(time.monotonic()),
        "up_since": wall(monitor.up_since),
        "configured_at": wall(monitor.configured),
        "stuck": monitor.stuck(),
        "alarm": monitor.broker.blocked,
        "connections": [_connection(each) for each in monitor.connections],
        "flows": [_flow(monitor, flow) for flow in monitor.flows],
        "dead_letters": _dead_letters(monitor),
    }
    cleaned = without_secrets(found)
    conclusion = conclude(cleaned)
    return {**cleaned, "exit": conclusion.code, "conclusion": conclusion.text}


def wall(monotonic: float | None) -> str | None:
    """Return a monotonic time as wall-clock time."""
    if monotonic is None:
        return None
    at = datetime.fromtimestamp(time.time() - (time.monotonic() - monotonic)).astimezone()
    return at.isoformat(timespec="seconds")


def _connection(facts: ConnectionFacts) -> Document:
    usage = facts.usage()
    calls = None
    if usage is not None and usage.maximum > 0:
        left = max(0, usage.maximum - usage.used)
        calls = {"left": left, "maximum": usage.maximum}
    return {
        "to": facts.name,
        "since": wall(facts.since()),
        "about": facts.about(),
        "reconnects": max(0, facts.opened() - 1),
        "api_calls": calls,
    }


def _flow(monitor: Monitor, flow: FlowStats) -> Document:
    depth = monitor.depth(*flow.queues) if flow.queue else None
    waiting = depth.waiting if depth else None
    paused = flow.paused()
    state = "paused" if paused else "running" if flow.runs(monitor.broker.connected) else "starting"
    hour, dead = flow.last_hour()
    return {
        "name": flow.name,
        "state": state,
        "pauses": [_pause(pausing, pause, waiting) for pausing, pause in paused],
        "queue": {
            "name": flow.queue,
            "waiting": waiting,
            "held": flow.held,
            "consumers": depth.consumers if depth else None,
        },
        "last_message": wall(flow.last_message),
        "last_success": wall(flow.last_success),
        "last_progress": wall(flow.last_progress),
        "last_hour": {**hour, "dead": dead},
        "lanes": [_lane(number, each) for number, each in enumerate(flow.lanes(), 1)],
        "shards": _shards(monitor, flow.shards()),
        "details": [
            {"name": each.name, "counts": dict(each.counts), "names": list(each.names)} for each in flow.details()
        ],
    }


def _shards(monitor: Monitor, shards: Sequence[ShardFacts]) -> Document | None:
    if not shards:
        return None
    return {
        "process": process_name(),
        "by_priority": monitor.broker.server_version >= PRIORITIES_SINCE,
        "of": [
            {"queue": each.queue, "priority": each.priority, "held": each.held, "last_message": wall(each.latest)}
            for each in shards
        ],
    }


def _lane(number: int, lane: LaneFacts) -> Document:
    behind = sorted(lane.behind.items(), key=lambda each: -each[1])
    return {
        "number": number,
        "target": lane.target,
        "state": "paused" if lane.paused else "working" if lane.working else "idle",
        "working": lane.working,
        "waiting": lane.waiting,
        "suspects": lane.suspects,
        "behind": [{"key": key, "waiting": waiting} for key, waiting in behind[:MOST_KEYS]],
    }


def _pause(pausing: Pausing, pause: Pause, waiting: int | None) -> Document:
    fields = pausing.line(pause, "unknown" if waiting is None else waiting)
    do = pausing.advice(pause)
    return {
        "name": pausing.name,
        "since": wall(pause.since),
        "cause": pause.failure.code,
        "same": pause.failure.same,
        "text": fields["text"],
        "next_try": fields["next_try"],
        "do": do,
        "line": logs.pause_line(fields, do),
    }


def _dead_letters(monitor: Monitor) -> Document:
    depth = monitor.depth(monitor.dead_letters)
    return {"queue": monitor.dead_letters, "messages": depth.waiting if depth else None}


def without_secrets(found: Mapping[str, Any]) -> Document:
    """Return a document without secrets; the text of a failure may contain one."""
    return {key: _clean(each) for key, each in found.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _clean(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return logs.secrets.redact_value(value)
