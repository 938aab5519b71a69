"""/_sim/...: control of the sandbox itself, for tests. JSON in and out; answers hold no secrets.

A change needs Content-Type: application/json, which a page of another site cannot make a browser send; `application`
refuses a `Host` that is not ours, by which the site would pass for the sandbox.
"""

from collections.abc import Callable
from typing import Any

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map
from werkzeug.wrappers import Request, Response

from sfconnector.sandbox import demo_data, outages, wire
from sfconnector.sandbox.refusals import ApiError
from sfconnector.sandbox.world import Sandbox, World

Handler = Callable[..., Any]


def respond(sandbox: Sandbox, http: Request, path: str) -> Response:
    """Answer a request below /_sim."""
    try:
        handler, values = _ROUTES.bind("sandbox").match(path, method=http.method)
        given: Any = {}
        if http.method != "GET":
            if http.mimetype != "application/json":
                return wire.answer({"problem": "expected Content-Type: application/json"}, 415)
            given = wire.read(http.get_data() or b"{}")
        handle: Handler = handler
        answer = handle(sandbox, given, **values)
        sandbox.changed(http.method)
        return wire.answer(answer)
    except NotFound:
        return wire.answer({"problem": "no such thing; here are " + ", ".join(sorted(_PATHS))}, 404)
    except MethodNotAllowed as error:
        return wire.answer({"problem": f"allowed are {', '.join(error.valid_methods or ())}"}, 405)
    except ApiError as error:
        return wire.answer(error.body(), error.status)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return wire.answer({"problem": f"{type(error).__name__}: {error}"}, 400)


def reset(sandbox: Sandbox, given: Any) -> Any:
    """Replace the org by one without records and users, or with {"demo": true} by the one that the command starts
    with."""
    sandbox.reset()
    if given.get("demo"):
        demo_data.fill(sandbox.world)
    return {}


def put_user(sandbox: Sandbox, given: Any) -> Any:
    user = sandbox.world.accounts.put_user(given)
    return {"id": user.id, "username": user.username}


def users(sandbox: Sandbox, given: Any) -> Any:
    return [
        {"id": user.id, "username": user.username, "active": user.active, "bad_passwords": user.failures}
        for user in sandbox.world.accounts.users.values()
    ]


def limits(sandbox: Sandbox, given: Any) -> Any:
    """Set the API calls of 24 hours: {"max": 15000, "used": 0}, or one of them."""
    sandbox.world.limit.set(maximum=given.get("max"), used=given.get("used"))
    return sandbox.world.limit.answer()["DailyApiRequests"]


def outage(sandbox: Sandbox, given: Any) -> Any:
    """Begin an outage: {"word": "503", "seconds": 30, "user": null}; return the faults that are active."""
    outages.begin(sandbox.world, given["word"], given.get("seconds"), given.get("user"))
    return {"active": outages.active(sandbox.world)}


def _changing(change: Callable[..., object]) -> Handler:
    """Return a handler that makes a change and answers nothing."""

    def handle(sandbox: Sandbox, given: Any, **values: str) -> Any:
        change(sandbox.world, given, **values)
        return {}

    return handle


def _delete(world: World, given: Any, sobject: str) -> None:
    """Delete records as a user does: {"id": …, "user": id}; with "into" the record is merged into another."""
    if into := given.get("into"):
        world.org.merge(sobject, given["id"], into, given["user"])
    else:
        world.org.delete(sobject, given["id"], given["user"])


def _plain(value: Any) -> Any:
    """Convert a fraction of JSON, which is a Decimal, to the float that a switch takes."""
    return value if isinstance(value, bool | int | str) else float(value)


def _switch(world: World, given: Any) -> None:
    world.switches.change({name: _plain(value) for name, value in given.items()})


_PATHS: dict[str, dict[str, Handler]] = {
    "/_sim/reset": {"POST": reset},
    "/_sim/apps": {"POST": lambda it, given: {"client_id": it.world.accounts.put_app(given).client_id}},
    "/_sim/users": {"POST": put_user, "GET": users},
    # All sessions, or those of {"user": name}.
    "/_sim/expire": {"POST": lambda it, given: {"ended": it.world.accounts.end_sessions(given.get("user"))}},
    "/_sim/switches": {"PATCH": _changing(_switch)},
    "/_sim/limits": {"PATCH": limits},
    "/_sim/faults": {
        "POST": lambda it, given: {"id": it.world.faults.add(given)},
        "GET": lambda it, given: it.world.faults.listed(),
        "DELETE": _changing(lambda world, given: world.faults.clear()),
    },
    "/_sim/outages": {"POST": outage},
    "/_sim/requests": {
        "GET": lambda it, given: it.world.journal.entries(),
        "DELETE": _changing(lambda world, given: world.journal.clear()),
    },
    "/_sim/counts": {"GET": lambda it, given: it.world.journal.counts()},
    # All fields of all records, oldest first.
    "/_sim/records/<sobject>": {
        "GET": lambda it, given, sobject: it.world.org.records(sobject),
        "POST": lambda it, given, sobject: it.world.org.seed(sobject, given),
        "DELETE": _changing(_delete),
    },
    "/_sim/fields/<sobject>": {"POST": _changing(lambda world, given, sobject: world.org.add_field(sobject, given))},
    # Assignment rules, validation rules, locked rows and the like: see Org.configure.
    "/_sim/org": {"PATCH": _changing(lambda world, given: world.org.configure(given))},
}
_ROUTES = Map(wire.rules(_PATHS))
