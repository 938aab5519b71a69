"""The page at /: the latest Cases, for a person to watch them arrive. Read-only; all that it shows is escaped."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from itertools import islice
from typing import Any

from werkzeug.wrappers import Request, Response

from connectorlib.service import http_server
from sfconnector.sandbox import wire
from sfconnector.sandbox.field_values import moment
from sfconnector.sandbox.org import Org
from sfconnector.sandbox.world import World

SHOWN = 100
REFRESH_SECONDS = 2
NEW_SECONDS = 6.0
LONGEST = 300  # characters of one value
HEADERS = http_server.HEADERS | {"Content-Security-Policy": http_server.security_policy(forms=False)}
NAMED = ("User", "Group", "Contact", "Account", "Asset")
#: Fields that have a column, and those that a person does not need.
COLUMNS = ("CaseNumber", "CreatedDate", "CreatedById", "Subject", "Priority", "Status")
LEFT_OUT = {"Id", "IsDeleted", "IsClosed", "SystemModstamp", "LastModifiedDate", "LastModifiedById", "ContactEmail"}
STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; --new: #2e9e5b33; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1200px; padding: 1.5rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .3rem 2rem; margin-bottom: 1rem; }
h1 { font-size: 1.35rem; margin: 0; }
header span, footer, .quiet { color: var(--quiet); }
header b { color: CanvasText; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--quiet); border-bottom: 2px solid var(--line); }
th, td { padding: .5rem .7rem; vertical-align: top; }
td { border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.number, td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.subject { min-width: 12rem; }
td.user { min-width: 11rem; }
tr.new td { background: var(--new); }
.fields { font-size: .82rem; color: var(--quiet); margin-top: .15rem; }
.fields span { display: inline-block; max-width: 100%; margin-right: .9rem; }
.fields i { font-style: normal; opacity: .85; }
.priority { border-radius: .7rem; padding: .05rem .6rem; background: #8882; white-space: nowrap; }
.priority.High { background: #d3392f; color: #fff; }
.empty { padding: 4rem 0; text-align: center; color: var(--quiet); }
footer { margin-top: 1.5rem; font-size: .82rem; }
@media (max-width: 50rem) { body { padding: .7rem; } .time, .status { display: none; } td.user { min-width: 7rem; } }
"""


def respond(world: World, http: Request, path: str) -> Response:
    """Answer a request of the page or its style sheet."""
    if http.method not in ("GET", "HEAD"):
        return Response("This page is only to be read.\n", 405, HEADERS | {"Allow": "GET, HEAD"})
    if path == "/":
        response = wire.page(html(world), 200)
    elif path == "/style.css":
        response = Response(STYLE, content_type="text/css;charset=UTF-8")
    else:
        response = Response("There is nothing here. Cases are at /, the API is below /services/data.\n", 404)
    response.headers.update(HEADERS)
    return response


def html(world: World) -> str:
    """Return the page."""
    total, cases = _latest(world.org)
    names = {record["Id"]: record for each in NAMED for record in world.org.records(each)}
    rows = "".join(_row(case, names) for case in cases)
    table = f"<table><thead><tr>{_heads()}</tr></thead><tbody>{rows}</tbody></table>"
    empty = '<p class="empty">No Case has come yet.</p>'
    more = f"<footer>The latest {SHOWN} of {total:,} Cases.</footer>" if total > len(cases) else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{REFRESH_SECONDS}">
<title>{total:,} Cases · local Salesforce</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header>
<h1>Local Salesforce</h1>
<span><b>{total:,}</b> Cases</span>
<span><b>{world.limit.used:,}</b> of {world.limit.maximum:,} API calls used</span>
<span>{datetime.now(UTC):%H:%M:%S} UTC</span>
</header>
{table if cases else empty}
{more}
</body>
</html>
"""


def _latest(org: Org) -> tuple[int, list[dict[str, Any]]]:
    """Return how many Cases there are, and the latest of them, newest first."""
    with org.lock:
        records = org.store.table(org.objects["Case"]).records.values()
        return len(records), [record for record in islice(reversed(records), SHOWN) if not record.get("IsDeleted")]


def _heads() -> str:
    heads = {
        "Case": "number",
        "Created": "time",
        "Division user": "user",
        "Subject": "",
        "Priority": "",
        "Status": "status",
    }
    return "".join(f'<th class="{style}">{name}</th>' for name, style in heads.items())


def _row(case: Mapping[str, Any], names: Mapping[str, Mapping[str, Any]]) -> str:
    created = moment(case["CreatedDate"])
    age = (datetime.now(UTC) - created).total_seconds()
    priority = _text(case.get("Priority"))
    subject = _text(case.get("Subject")) or '<span class="quiet">(no subject)</span>'
    classes = "priority High" if priority == "High" else "priority"
    return (
        f'<tr class="{"new" if age < NEW_SECONDS else "old"}">'
        f'<td class="number">{_text(case["CaseNumber"])}</td>'
        f'<td class="time">{created:%H:%M:%S}<div class="fields">{created:%Y-%m-%d}</div></td>'
        f'<td class="user">{_person(case["CreatedById"], names)}</td>'
        f'<td class="subject">{subject}<div class="fields">{_fields(case, names)}</div></td>'
        f'<td><span class="{classes}">{priority}</span></td>'
        f'<td class="status">{_text(case.get("Status"))}</td></tr>'
    )


def _person(user_id: str, names: Mapping[str, Mapping[str, Any]]) -> str:
    user = names.get(user_id, {})
    return f'{_text(user.get("Name") or user_id)}<div class="fields">{_text(user.get("Username"))}</div>'


def _fields(case: Mapping[str, Any], names: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the fields that have no column, but for an owner who is the creator."""
    told: Iterable[tuple[str, Any]] = (
        (name, value)
        for name, value in case.items()
        if value not in (None, False) and name not in LEFT_OUT and name not in COLUMNS and name != "attributes"
    )
    return " ".join(
        f"<span><i>{escape(name)}</i> {_named(value, names)}</span>"
        for name, value in told
        if not (name == "OwnerId" and value == case["CreatedById"])
    )


def _named(value: Any, names: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name behind an id, any other value as it is."""
    record = names.get(value) if isinstance(value, str) else None
    return _text(record.get("Name") or record.get("Username") or value if record else value)


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return escape(text if len(text) <= LONGEST else text[:LONGEST] + "…")
