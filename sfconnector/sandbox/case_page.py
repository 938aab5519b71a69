"""The page at /: the latest Cases, for a person to watch them arrive, and buttons that begin an outage."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from connectorlib.service import pages
from connectorlib.service.form_origin import is_foreign_form
from sfconnector.sandbox import case_history, outages, wire
from sfconnector.sandbox.case_history import Entry, Story
from sfconnector.sandbox.field_values import moment
from sfconnector.sandbox.org import Org
from sfconnector.sandbox.world import World

SHOWN = 100
REFRESH_SECONDS = 2
NEW_SECONDS = 6.0
LONGEST = 300  # characters of one value
OUTAGE_SECONDS = 60.0  # that a button begins
HEADERS = pages.headers(forms=True)
NAMED = ("User", "Group", "Contact", "Account", "Asset")
#: Fields that have a column, and those that a person does not need.
LEFT_OUT = {
    *("CaseNumber", "CreatedDate", "CreatedById", "Subject", "Priority", "Status"),
    *("Id", "IsDeleted", "IsClosed", "SystemModstamp", "LastModifiedDate", "LastModifiedById", "ContactEmail"),
    *("attributes", case_history.ALARM),
}

Record = Mapping[str, Any]


def respond(world: World, http: Request, path: str) -> Response:
    """Answer a request of the page, its style sheet or its buttons."""
    if path == "/fail" and http.method == "POST":
        response = _fail(world, http)
    elif http.method not in ("GET", "HEAD"):
        response = Response("This page is only to be read.\n", 405, {"Allow": "GET, HEAD"})
    elif path == "/":
        response = wire.page(html(world), 200)
    elif path == "/style.css":
        response = Response(pages.style(), content_type="text/css;charset=UTF-8")
    else:
        response = Response("There is nothing here. Cases are at /, the API is below /services/data.\n", 404)
    response.headers.update(HEADERS)
    return response


def _fail(world: World, http: Request) -> Response:
    """Begin the outage of a button. There is no session, so the browser has to say that the form is ours."""
    host, origin = http.headers.get("Host"), http.headers.get("Origin")
    if origin is None or is_foreign_form(host, origin, http.headers.get("Sec-Fetch-Site")):
        return Response("This form was sent by another page.\n", 403)
    word = http.form.get("word", "")
    try:
        outages.begin(world, word, OUTAGE_SECONDS if outages.lasts(word) else None)
    except ValueError as error:
        return Response(f"{error}\n", 400)
    return redirect("/", 303)


def _shown_fault(fault: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the name, the time and the number of calls after which it ends; None: it does not end by that."""
    left, times = fault["seconds"], fault["times"]
    return {
        "name": _text(fault["name"]),
        "until": None if left is None else now + timedelta(seconds=left),
        "calls": None if times is None else times - fault["taken"],
    }


def html(world: World) -> str:
    """Return the page."""
    now = datetime.now(UTC)
    total, cases = _latest(world.org)
    stories = case_history.stories(world.org, cases)
    names = {record["Id"]: record for each in NAMED for record in world.org.records(each)}
    return (
        pages.environment(__package__)
        .get_template("cases.html")
        .render(
            cases=[_shown(case, stories[case["Id"]], names) for case in cases],
            total=total,
            most=SHOWN,
            calls=world.limit,
            words=outages.WORDS,
            outage_s=OUTAGE_SECONDS,
            faults=[_shown_fault(each, now) for each in outages.active(world)],
            now=now,
            refresh_s=REFRESH_SECONDS,
        )
    )


def _latest(org: Org) -> tuple[int, list[dict[str, Any]]]:
    """Return how many Cases there are, and the latest of them, newest first."""
    with org.lock:
        records = org.store.table(org.objects["Case"]).records.values()
        return len(records), [record for record in islice(reversed(records), SHOWN) if not record.get("IsDeleted")]


def _shown(case: Record, story: Story, names: Mapping[str, Record]) -> dict[str, Any]:
    """Return what the page shows of a Case: texts, cut to what a person needs."""
    created = moment(case["CreatedDate"])
    user = names.get(case["CreatedById"], {})
    return {
        **{name: _text(case.get(name)) for name in ("CaseNumber", "Subject", "Priority", "Status")},
        "created": created,
        "new": (datetime.now(UTC) - created).total_seconds() < NEW_SECONDS,
        "user": _text(user.get("Name") or case["CreatedById"]),
        "username": _text(user.get("Username")),
        "fields": _fields(case, names),
        "alarm": story.alarm,
        "entries": [_entry(entry, names) for entry in story.entries],
        "earlier": story.earlier,
    }


def _entry(entry: Entry, names: Mapping[str, Record]) -> dict[str, Any]:
    """Return what the page shows of a comment or a change."""
    return {
        "at": entry.at,
        "user": _text(_name(entry.user_id, names)),
        "field": entry.field.removesuffix("Id"),
        "old": _text(_name(entry.old, names)),
        "text": _text(_name(entry.text, names)),
    }


def _fields(case: Record, names: Mapping[str, Record]) -> list[tuple[str, str]]:
    """Return the fields that have no column, except an owner who is the creator."""
    return [
        (name, _text(_name(value, names)))
        for name, value in case.items()
        if value not in (None, False)
        and name not in LEFT_OUT
        and not (name == "OwnerId" and value == case["CreatedById"])
    ]


def _name(value: Any, names: Mapping[str, Record]) -> Any:
    """Return the name that belongs to an id, any other value as it is."""
    record = names.get(value) if isinstance(value, str) else None
    return record.get("Name") or record.get("Username") or value if record else value


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
