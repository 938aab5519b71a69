"""The status document as lines of text, for a terminal and for the page. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from connectorlib.monitoring.humanize import counted, since
from connectorlib.values.text import printable

#: A name and a text.
Line = tuple[str, str]

NEVER = "none since the start"


def as_text(status: Mapping[str, Any], last_success: str = "last write") -> str:
    """Return the whole status as text, with the verdict at the end. `last_success` names the last message that arrived
    in the target."""
    lines = _aligned([*about(status), *connections(status)])
    for flow in status["flows"]:
        lines += ["", f"{flow['name']}: {state(flow)}", *(pause["line"] for pause in flow["pauses"])]
        lines += [f"  {line}" for line in _aligned(details(flow, status, last_success))]
    lines += ["", *_aligned([dead_letters(status)]), "", status["conclusion"]]
    return "\n".join(map(printable, lines))


def about(status: Mapping[str, Any]) -> Iterator[Line]:
    now = datetime.fromisoformat(status["time"])
    yield status["connector"], f"{status['name']}, version {status['version']}"
    yield "up since", since(status["up_since"], now)
    yield "configuration", f"{status['file']}, loaded at {since(status['configured_at'], now)}"


def connections(status: Mapping[str, Any]) -> Iterator[Line]:
    now = datetime.fromisoformat(status["time"])
    for each in status["connections"]:
        text = f"connected since {since(each['since'], now)}" if each["since"] else "not connected"
        parts = [text, each["about"]]
        if each["reconnects"]:
            parts.append(counted(each["reconnects"], "reconnect"))
        if each["api_calls"]:
            parts.append(f"{each['api_calls']['left']} of {each['api_calls']['maximum']} API calls left")
        yield each["to"], ", ".join(part for part in parts if part)


def state(flow: Mapping[str, Any]) -> str:
    names = [pause["name"] for pause in flow["pauses"] if pause["name"] != flow["name"]]
    return f"{flow['state']} ({', '.join(names)})" if names else str(flow["state"])


def details(flow: Mapping[str, Any], status: Mapping[str, Any], last_success: str = "last write") -> Iterator[Line]:
    """Return the lines about one flow, without its pauses."""
    now = datetime.fromisoformat(status["time"])
    queue = flow["queue"]
    if queue["name"]:
        waiting = "unknown how many" if queue["waiting"] is None else queue["waiting"]
        consumers = "" if queue["consumers"] is None else f", {counted(queue['consumers'], 'consumer')}"
        yield "queue", f"{queue['name']}: {waiting} waiting, {queue['held']} held{consumers}"
        yield "last message in", since(flow["last_message"], now) if flow["last_message"] else NEVER
    yield (
        last_success if queue["name"] else "last row out",
        since(flow["last_success"], now) if flow["last_success"] else NEVER,
    )
    hour = flow["last_hour"]
    names = ["in", "done", "already_there", *(name for name in ("ignored", "empty") if hour.get(name)), "retried"]
    dead = ", ".join(f"{count} {code}" for code, count in hour["dead"].items())
    counts = [f"{hour[name]} {name.replace('_', ' ')}" for name in names]
    died = sum(hour["dead"].values())
    yield "last hour", ", ".join([*counts, f"{died} dead-lettered{f' ({dead})' if dead else ''}"])

    for each in flow.get("details", ()):  # a process of an older version has none
        yield each["name"], _detail(each)
    if len(flow["lanes"]) > 1:
        for lane in flow["lanes"]:
            yield f"lane {lane['number']}", _lane(lane, flow["name"])

    yield from _shards(flow.get("shards"), now)


def _detail(detail: Mapping[str, Any]) -> str:
    """Return the counts of a sink's own line, those that are 0 left out, and what is named behind them."""
    counts = [f"{count} {name.replace('_', ' ')}" for name, count in detail["counts"].items() if count]
    names = f": {', '.join(detail['names'])}" if detail["names"] else ""
    return f"{', '.join(counts) or 'none'}{names}"


def _shards(shards: Mapping[str, Any] | None, now: datetime) -> Iterator[Line]:
    if shards is None:
        return
    rule = "" if shards["by_priority"] else "; before RabbitMQ 4.0 a shard belongs to the process that started first"
    yield "process", f"{shards['process']}{rule}"
    for each in shards["of"]:
        held = f"{each['held']} held, " if each["held"] else ""
        came = f"last message in {since(each['last_message'], now)}" if each["last_message"] else "nothing received yet"
        yield f"shard {each['queue']}", f"{held}{came}"


def _lane(lane: Mapping[str, Any], flow: str) -> str:
    parts = [lane["state"] if lane["target"] == flow else f"{lane['target']}: {lane['state']}"]
    parts += [f"{lane[name]} {name}" for name in ("working", "waiting", "suspects") if lane[name]]
    parts += [f"{each['waiting']} behind key {each['key']}" for each in lane["behind"]]
    return ", ".join(parts)


def dead_letters(status: Mapping[str, Any]) -> Line:
    dead = status["dead_letters"]
    messages = "number of messages unknown" if dead["messages"] is None else counted(dead["messages"], "message")
    return "dead letters", f"{messages} in {dead['queue']}"


def _aligned(lines: Iterable[Line]) -> list[str]:
    lines = list(lines)
    width = max(15, *(len(name) for name, _ in lines))
    return [f"{name:<{width}} {text}" for name, text in lines]
