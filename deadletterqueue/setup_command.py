"""`deadletter-queue --vhost x`: makes what is missing and prints what existed, what was made and what differs."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from connectorlib.amqp.broker_user import grant_all
from connectorlib.errors import Failed
from connectorlib.service.exit_codes import ExitCode
from connectorlib.values.text import printable
from deadletterqueue.options import Connection
from deadletterqueue.policy import Policy, apply, dead_letter_policies
from deadletterqueue.session import Session, open_session
from deadletterqueue.setup import DIFFERENT, Part, Wanted, set_up
from deadletterqueue.terminal import table

#: What the second policy changes besides.
FULL = (
    "With the second one a quorum queue that has a maximum length refuses what is published beyond it, where it would "
    "drop its oldest messages; --policy-pattern leaves such queues out."
)


def run_set_up(
    connection: Connection,
    *,
    exchange: str | None,
    queue: str | None,
    kind: str,
    max_length: int | None,
    ttl: float | None,
    policy: bool,
    apply_policy: bool,
    policy_pattern: str | None,
    as_json: bool,
) -> ExitCode:
    """Make exchange, queue and binding; print or apply the policies."""
    with open_session(connection) as session:
        names = session.settings.dead_letter
        ttl_ms = round(ttl * 1000) if ttl is not None else None
        wanted = Wanted(exchange or names.exchange, queue or names.queue, kind, max_length, ttl_ms)
        if ttl is not None:
            age = timedelta(seconds=ttl)
            _warn(f"dead letters older than {age} will be deleted by the broker, permanently and without notice")
        parts = _set_up(session, wanted)
        for_others = dead_letter_policies(session.settings.virtual_host, wanted.exchange, wanted.queue, policy_pattern)
        different = [part for part in parts if part.status == DIFFERENT]
        result: dict[str, Any] = {
            "virtual_host": session.settings.virtual_host,
            "parts": [_part_json(part) for part in parts],
        }
        if not as_json:
            _print(parts, session.settings.virtual_host)
        if policy or apply_policy:
            result |= _policies(session, for_others, apply_them=apply_policy and not different, as_json=as_json)
    if as_json:
        print(json.dumps(result, indent=2))
    return ExitCode.BAD_CONFIGURATION if different else ExitCode.DONE


def _set_up(session: Session, wanted: Wanted) -> list[Part]:
    def bound() -> bool | None:
        try:
            found = session.management.bindings(session.settings.virtual_host, wanted.exchange, wanted.queue)
        except Failed:  # AMQP is enough: it accepts a binding that exists
            return None
        return any(each.get("routing_key") == "#" for each in found)

    try:
        return set_up(session.broker, wanted, bound)
    except Failed as failed:
        if failed.failure.code != "403":
            raise
        text = f"{failed.failure.text}. Allow it: {grant_all(session.settings)}"
        raise Failed(replace(failed.failure, text=text)) from failed


def _print(parts: list[Part], virtual_host: str) -> None:
    print(f"virtual host {virtual_host}:")
    for part in parts:
        print(f"  {part.kind:<9} {printable(part.name):<40} {part.status}")
    for part in parts:
        if part.differences:
            print()
            _warn(f"{part.kind} {part.name!r} exists with other arguments, and was left as it is")
            rows = [(str(name), _value(there), _value(asked)) for name, there, asked in part.differences]
            table(("argument", "there", "asked for"), rows)
            _warn(f"ask for what is there, choose another name, or delete the {part.kind} when it is empty")


def _policies(session: Session, policies: Sequence[Policy], *, apply_them: bool, as_json: bool) -> dict[str, Any]:
    url = session.management.url
    result: list[dict[str, Any]] = [
        {"name": policy.name, **policy.body, "command": policy.command, "call": policy.call(url)} for policy in policies
    ]
    remarks: list[str] = []
    if apply_them:
        statuses, remarks = apply(policies, session.management)
        for each, status in zip(result, statuses, strict=True):
            each["status"] = status
        for remark in remarks:
            _warn(remark)
    if not as_json:
        print()
        if apply_them:
            for each in result:
                print(f"  policy    {each['name']:<40} {each['status']}: queues that match {each['pattern']}")
        else:
            print("to give existing queues this dead-letter exchange, quorum queues at least once:\n")
            for policy in policies:
                print(f"  {policy.command}")
            print("\nor through the management API:\n")
            for policy in policies:
                print(f"  {policy.call(url)}")
            print("\nAn argument of a queue comes before them. " + FULL)
    return {"policies": result, "remarks": remarks}


def _part_json(part: Part) -> dict[str, Any]:
    differences = [{"name": name, "there": there, "asked": asked} for name, there, asked in part.differences]
    found = {"kind": part.kind, "name": part.name, "status": part.status}
    return {**found, "differences": differences} if differences else found


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)


def _warn(text: str) -> None:
    print(printable(text), file=sys.stderr)
