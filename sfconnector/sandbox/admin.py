"""/_sim/...: what a test or a curious person does to the sandbox itself. JSON in and out; no secret ever goes out.

A change must say Content-Type: application/json: no page of another site can make a browser send that unasked.
"""

from collections.abc import Callable
from typing import Any

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map
from werkzeug.wrappers import Request, Response

from sfconnector.sandbox import demo_data, wire
from sfconnector.sandbox.refusals import ApiError
from sfconnector.sandbox.world import Sandbox

Handler = Callable[..., Any]


def respond(sandbox: Sandbox, http: Request, path: str) -> Response:
    """Answer a request of /_sim."""
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
    """A fresh org without records and users; with {"demo": true} the one that the command starts with."""
    sandbox.reset()
    if given.get("demo"):
        demo_data.fill(sandbox.world)
    return {}


def put_app(sandbox: Sandbox, given: Any) -> Any:
    return {"client_id": sandbox.world.accounts.put_app(given).client_id}


def put_user(sandbox: Sandbox, given: Any) -> Any:
    user = sandbox.world.accounts.put_user(given)
    return {"id": user.id, "username": user.username}


def users(sandbox: Sandbox, given: Any) -> Any:
    listed = sandbox.world.accounts.users.values()
    return [
        {"id": user.id, "username": user.username, "active": user.active, "bad_passwords": user.failures}
        for user in listed
    ]


def expire(sandbox: Sandbox, given: Any) -> Any:
    """End all sessions, or those of {"user": name}."""
    return {"ended": sandbox.world.accounts.end_sessions(given.get("user"))}


def switch(sandbox: Sandbox, given: Any) -> Any:
    sandbox.world.switches.change({name: _plain(value) for name, value in given.items()})
    return {}


def limits(sandbox: Sandbox, given: Any) -> Any:
    """Of the API calls of 24 hours: {"max": 15000, "used": 0}, or one of them."""
    sandbox.world.limit.set(maximum=given.get("max"), used=given.get("used"))
    return sandbox.world.limit.answer()["DailyApiRequests"]


def add_fault(sandbox: Sandbox, given: Any) -> Any:
    return {"id": sandbox.world.faults.add(given)}


def faults(sandbox: Sandbox, given: Any) -> Any:
    return sandbox.world.faults.listed()


def clear_faults(sandbox: Sandbox, given: Any) -> Any:
    sandbox.world.faults.clear()
    return {}


def requests(sandbox: Sandbox, given: Any) -> Any:
    return sandbox.world.journal.entries()


def clear_requests(sandbox: Sandbox, given: Any) -> Any:
    sandbox.world.journal.clear()
    return {}


def counts(sandbox: Sandbox, given: Any) -> Any:
    return sandbox.world.journal.counts()


def records(sandbox: Sandbox, given: Any, sobject: str) -> Any:
    """All fields of all records, oldest first."""
    return sandbox.world.org.records(sobject)


def seed(sandbox: Sandbox, given: Any, sobject: str) -> Any:
    return sandbox.world.org.seed(sobject, given)


def add_field(sandbox: Sandbox, given: Any, sobject: str) -> Any:
    sandbox.world.org.add_field(sobject, given)
    return {}


def configure(sandbox: Sandbox, given: Any) -> Any:
    """Assignment rules, validation rules, locked rows and the like: see Org.configure."""
    sandbox.world.org.configure(given)
    return {}


def _plain(value: Any) -> Any:
    """A fraction of JSON is a Decimal here; a switch wants a float."""
    return value if isinstance(value, bool | int | str) else float(value)


_PATHS: dict[str, dict[str, Handler]] = {
    "/_sim/reset": {"POST": reset},
    "/_sim/apps": {"POST": put_app},
    "/_sim/users": {"POST": put_user, "GET": users},
    "/_sim/expire": {"POST": expire},
    "/_sim/switches": {"PATCH": switch},
    "/_sim/limits": {"PATCH": limits},
    "/_sim/faults": {"POST": add_fault, "GET": faults, "DELETE": clear_faults},
    "/_sim/requests": {"GET": requests, "DELETE": clear_requests},
    "/_sim/counts": {"GET": counts},
    "/_sim/records/<sobject>": {"GET": records, "POST": seed},
    "/_sim/fields/<sobject>": {"POST": add_field},
    "/_sim/org": {"PATCH": configure},
}
_ROUTES = Map(wire.rules(_PATHS))
