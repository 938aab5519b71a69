"""The status as a document, as `GET /status` gives it: plain values, times as ISO 8601, no secret.

Page and command show this document and know nothing else.
"""

import time
from datetime import datetime
from typing import Any

from connectorlib.monitoring.flow_stats import Pausing, Watch
from connectorlib.monitoring.monitor import Monitor, Side
from connectorlib.monitoring.verdict import conclude
from connectorlib.pipeline.blame import Pause
from connectorlib.service import logs

Document = dict[str, Any]


def document(monitor: Monitor) -> Document:
    """Return the status of the process, what hurts included."""
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
        "connections": [_connection(side) for side in monitor.sides],
        "flows": [_flow(monitor, watch) for watch in monitor.watches],
        "dead_letters": _dead_letters(monitor),
    }
    cleaned: Document = _clean(found)
    conclusion = conclude(cleaned)
    return {**cleaned, "exit": conclusion.code, "conclusion": conclusion.text}


def wall(monotonic: float | None) -> str | None:
    """Return a monotonic time by the clock on the wall."""
    if monotonic is None:
        return None
    at = datetime.fromtimestamp(time.time() - (time.monotonic() - monotonic)).astimezone()
    return at.isoformat(timespec="seconds")


def _connection(side: Side) -> Document:
    usage = side.usage()
    calls = None
    if usage is not None and usage.maximum > 0:
        left = max(0, usage.maximum - usage.used)
        calls = {"left": left, "maximum": usage.maximum}
    reconnects = max(0, side.opened() - 1)
    return {
        "to": side.name,
        "since": wall(side.since()),
        "about": side.about(),
        "reconnects": reconnects,
        "api_calls": calls,
    }


def _flow(monitor: Monitor, watch: Watch) -> Document:
    level = monitor.level(watch.queue) if watch.queue else None
    waiting = level.waiting if level else None
    paused = watch.paused()
    state = "paused" if paused else "running" if watch.runs(monitor.broker.connected) else "starting"
    hour, dead = watch.last_hour()
    return {
        "name": watch.name,
        "state": state,
        "pauses": [_pause(pausing, pause, waiting) for pausing, pause in paused],
        "queue": {
            "name": watch.queue,
            "waiting": waiting,
            "held": watch.held,
            "consumers": level.consumers if level else None,
        },
        "last_message": wall(watch.last_message),
        "last_success": wall(watch.last_success),
        "last_progress": wall(watch.last_progress),
        "last_hour": {**hour, "dead": dead},
    }


def _pause(pausing: Pausing, pause: Pause, waiting: int | None) -> Document:
    fields = pausing.line(pause, "unknown" if waiting is None else waiting)
    do = pausing.advice(pause)
    return {
        "name": pausing.name,
        "since": wall(pause.since),
        "cause": pause.failure.code,
        "text": fields["text"],
        "next_try": fields["next_try"],
        "do": do,
        "line": logs.pause_line(fields, do),
    }


def _dead_letters(monitor: Monitor) -> Document:
    level = monitor.level(monitor.dead_letters)
    return {"queue": monitor.dead_letters, "messages": level.waiting if level else None}


def _clean(value: Any) -> Any:
    """Take the secrets out; what a far side says of a failure may hold one."""
    if isinstance(value, dict):
        return {str(key): _clean(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return logs.secrets.redact_value(value)
