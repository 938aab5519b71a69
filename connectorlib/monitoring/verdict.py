"""The last line of the status: the first thing that is wrong, and what to do about it. Pure."""

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.monitoring.humanize import ago, counted, moment
from connectorlib.values.text import cut

#: Unacknowledged messages without any progress for this long mean that something is stuck.
STUCK_S = 300.0
#: A warning is due below this share of the API calls.
LOW_CALLS = 0.1
RECENT_S = 60.0
#: Characters of a failure's text; the pause line above has all of it.
MOST_TEXT = 120

RUNNING, WRONG = 0, 1


@dataclass(frozen=True, slots=True)
class Conclusion:
    """`code` is the exit code of the command: 0 all running, 1 something is paused or stuck."""

    code: int
    text: str


def conclude(status: Mapping[str, Any]) -> Conclusion:
    """Return the first thing that is wrong, else the first that is worth a look, else that nothing is wrong."""
    if wrong := next(_wrong(status), None):
        return Conclusion(WRONG, wrong)
    if odd := next(_odd(status), None):
        return Conclusion(RUNNING, odd)
    return Conclusion(RUNNING, f"OK: {_last_message(status)}")


def _wrong(status: Mapping[str, Any]) -> Iterator[str]:
    now = datetime.fromisoformat(status["time"])
    if status["stuck"]:
        yield f"stuck: {status['stuck']}: it exits with status 75; restart it if no supervisor does"
    for flow in status["flows"]:
        for pause in flow["pauses"]:
            since, text = moment(pause["since"], now), cut(pause["text"], MOST_TEXT)
            yield f"{pause['name']} is paused since {since}, {pause['cause']}: {text}: {pause['do']}"
    for connection in status["connections"]:
        if connection["to"] == "broker" and connection["since"] is None:
            reason = f": {connection['about']}" if connection["about"] else ""
            yield f"there is no connection to the broker{reason}: start it, or fix what blocks the connection"
    for flow in status["flows"]:
        if flow["state"] == "starting":
            yield f"{flow['name']} has not started yet: try again in a moment; if this persists, see the log"
    if status["alarm"]:
        yield "the broker blocks publishers, it is short of memory or disk: free some; dead letters wait until then"
    for flow in status["flows"]:
        held = flow["queue"]["held"]
        idle = (now - datetime.fromisoformat(flow["last_progress"])).total_seconds()
        if held and idle >= STUCK_S:
            yield (
                f"{flow['name']} holds {counted(held, 'message')} and has made no progress for {ago(idle)}: "
                "see the last warnings in the log, and look for a lock in the target"
            )


def _odd(status: Mapping[str, Any]) -> Iterator[str]:
    for connection in status["connections"]:
        calls = connection["api_calls"]
        if calls and calls["left"] < LOW_CALLS * calls["maximum"]:
            yield (
                f"running, but only {calls['left']} of {calls['maximum']} API calls are left "
                f"({connection['to']}): find what uses them"
            )
    for flow in status["flows"]:
        dead = flow["last_hour"]["dead"]
        if dead:
            code = next(iter(dead))
            died = counted(sum(dead.values()), "message")
            text = f"running, but {died} of {flow['name']} died within the last hour, most of them with code {code}"
            letters = status["dead_letters"]
            if letters["messages"] == 0:  # replayed, edited or purged
                yield f"{text}; {letters['queue']} is empty by now"
            else:
                yield f"{text}: look with `{shlex.join(['deadletter-queue', 'group', '-c', status['file']])}`"


def _last_message(status: Mapping[str, Any]) -> str:
    now = datetime.fromisoformat(status["time"])
    sends = all(not flow["queue"]["name"] for flow in status["flows"])  # rows of a query, from no queue
    what, done, key = ("row", "been sent", "last_success") if sends else ("message", "come", "last_message")
    times = (flow[key] for flow in status["flows"] if flow[key])
    last = max(times, default=None, key=datetime.fromisoformat)
    if last is None:
        return f"no {what} has {done} since the start at {moment(status['up_since'], now)}"
    age = (now - datetime.fromisoformat(last)).total_seconds()
    if age < RECENT_S:
        return f"the last {what} {'was sent' if sends else 'came'} {ago(age)} ago"
    return f"no {what} has {done} since {moment(last, now)}"
