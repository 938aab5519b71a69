"""The resources below /services/data/vXX.X. services.py decides who may call them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from connectorlib.dataclass import dataclass
from sfconnector.sandbox import composite, faults, refusals, wire
from sfconnector.sandbox.accounts import User
from sfconnector.sandbox.refusals import ApiError, refused
from sfconnector.sandbox.world import World

PAGE_SIZE = 2000
METHODS = ("HEAD", "GET", "POST", "PATCH", "DELETE")  # in the order in which Salesforce lists them
#: The error of a record whose fault rule gives no other.
FAULT: dict[str, Any] = {"statusCode": "UNKNOWN_EXCEPTION", "message": "An unexpected error occurred.", "fields": []}


@dataclass(slots=True)
class Ask:
    """One authorised call."""

    world: World
    http: Request
    user: User
    version: str
    given: wire.JsonBody
    fault: faults.FaultRule | None = None

    @property
    def base(self) -> str:
        return f"/services/data/v{self.version}"

    def body(self) -> Any:
        """Return the JSON of the body. Raise ApiError for another content type or bad JSON."""
        kind = self.http.mimetype
        if kind != "application/json":
            text = f"Content-Type header specified in HTTP request is not supported: {kind}"
            raise refused("UNSUPPORTED_MEDIA_TYPE", text, None, 415)
        return self.given.read()

    def options(self) -> dict[str, Any]:
        """Return the options of a write, which headers give."""
        assign = self.http.headers.get("Sforce-Auto-Assign", "TRUE")
        rule = _pairs(self.http.headers.get("Sforce-Duplicate-Rule-Header", ""), ";")
        return {
            "auto_assign": {"true": True, "false": False}.get(assign.lower(), assign),
            "allow_duplicates": rule.get("allowsave", "").lower() == "true",
        }


Handler = Callable[..., Response]


def respond(ask: Ask, path: str) -> Response:
    """Answer a call; `path` is the undecoded part after the version. Raise ApiError."""
    try:
        handler, values = _ROUTES.bind("sandbox").match(path, method=ask.http.method)
    except MethodNotAllowed as error:
        allowed = ",".join(each for each in METHODS if each in (error.valid_methods or ()))
        text = f"HTTP Method '{ask.http.method}' not allowed. Allowed are {allowed}"
        raise refused("METHOD_NOT_ALLOWED", text, None, 405) from error
    except NotFound as error:
        raise refusals.not_found() from error
    handle: Handler = handler
    # Decoded once, and after the match: a value may contain a slash or a percent sign.
    return handle(ask, **{name: unquote(value) for name, value in values.items()})


def resources(ask: Ask) -> Response:
    names = ("sobjects", "query", "queryAll", "limits", "composite")
    return wire.answer({name: f"{ask.base}/{name}" for name in names})


def create(ask: Ask, name: str) -> Response:
    fields = ask.body()
    _fail_single(ask, fields)
    record_id = ask.world.org.create(name, fields, ask.user.id, **ask.options())
    return _made(ask, name, record_id)


def update(ask: Ask, name: str, record_id: str) -> Response:
    fields = ask.body()
    _fail_single(ask, fields)
    ask.world.org.update(name, record_id, fields, ask.user.id, **ask.options())
    return Response(status=204)


def delete(ask: Ask, name: str, record_id: str) -> Response:
    ask.world.org.delete(name, record_id, ask.user.id)
    return Response(status=204)


def upsert(ask: Ask, name: str, field: str, value: str) -> Response:
    fields = ask.body()
    _fail_single(ask, {field: value, **fields} if isinstance(fields, Mapping) else fields)
    update_only = ask.http.args.get("updateOnly", "").lower() == "true"
    record_id, created = ask.world.org.upsert(
        name, field, value, fields, ask.user.id, update_only=update_only, **ask.options()
    )
    if created:
        return _made(ask, name, record_id, created=True)
    return wire.answer({"id": record_id, "success": True, "errors": [], "created": False})


def query(ask: Ask) -> Response:
    soql = ask.http.args.get("q")
    if soql is None:
        raise refused("MALFORMED_QUERY", "SOQL statement is required: q", None)
    wanted = _pairs(ask.http.headers.get("Sforce-Query-Options", ""), ",").get("batchsize", "")
    size = min(max(int(wanted), 200), PAGE_SIZE) if wanted.isdigit() else PAGE_SIZE
    found = ask.world.org.query(soql, ask.user.id, with_deleted="/queryAll" in ask.http.path)
    return wire.answer(ask.world.cursors.first(found, size, ask.base))


def several_calls(ask: Ask) -> Response:
    """Answer a composite request, which counts as one call."""

    def send(method: str, url: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], Any]:
        path, _, query = url.partition("?")
        made = EnvironBuilder(unquote(path), method=method, query_string=query, headers=list(headers.items()))
        made.content_type = "application/json"
        inner = replace(ask, http=Request(made.get_environ() | {"REQUEST_URI": url}), given=wire.JsonBody.of(body))
        try:
            response = respond(inner, path.removeprefix(ask.base))
        except ApiError as error:
            return error.status, {}, error.body()
        return response.status_code, dict(response.headers), wire.JsonBody(response.get_data()).peek()

    body = ask.body()
    with ask.world.org.lock:
        before = ask.world.org.export() if isinstance(body, Mapping) and body.get("allOrNone") is True else {}
        answers, undo = composite.run(body, send)
        if undo:
            ask.world.org.restore(before)
    return wire.answer({"compositeResponse": answers})


def delete_many(ask: Ask) -> Response:
    ids = [each for each in ask.http.args.get("ids", "").split(",") if each]
    all_or_none = ask.http.args.get("allOrNone", "").lower() == "true"
    return wire.answer(ask.world.org.delete_many(ids, ask.user.id, all_or_none=all_or_none))


def retrieve(ask: Ask, name: str) -> Response:
    """Answer with records by their ids, null for those that are not there."""
    given = ask.body() if ask.http.method == "POST" else ask.http.args.to_dict()
    ids, fields = (_names(given.get(key)) for key in ("ids", "fields"))
    found: list[dict[str, Any] | None] = []
    for record_id in ids:
        try:
            found.append(ask.world.org.get(name, record_id, fields))
        except ApiError as error:
            if error.status != 404:
                raise
            found.append(None)
    return wire.answer(found)


def _names(given: object) -> list[str]:
    return [str(each).strip() for each in (given if isinstance(given, list) else str(given or "").split(","))]


def _collection(ask: Ask, **how: Any) -> Response:
    body = ask.body()
    records = body.get("records") if isinstance(body, Mapping) else None
    if not isinstance(records, list):
        raise refusals.unreadable("records: a list is required at [line:1, column:1]")
    all_or_none = body.get("allOrNone") is True
    failing = _failing(ask, records)
    passed = [record for number, record in enumerate(records) if number not in failing]
    if failing and all_or_none:
        rolled_back = ApiError(refusals.ROLLED_BACK).in_collection()
        results = [{"success": False, "errors": rolled_back}] * len(passed)
    else:
        results = ask.world.org.collection(passed, ask.user.id, all_or_none=all_or_none, **how, **ask.options())
    rest = iter(results)
    return wire.answer([failing[number] if number in failing else next(rest) for number in range(len(records))])


def _failing(ask: Ask, records: list[Any]) -> dict[int, dict[str, Any]]:
    """Return the results of the records that a fault rule names, by position."""
    if ask.fault is None or "record" not in ask.fault.action:
        return {}
    answer = {"success": False, "errors": [FAULT | dict(ask.fault.action["record"])]}
    return {number: answer for number, record in enumerate(records) if ask.fault.fits_record(record)}


def _fail_single(ask: Ask, fields: object) -> None:
    if ask.fault is not None and "record" in ask.fault.action and ask.fault.fits_record(fields):
        fault = FAULT | dict(ask.fault.action["record"])
        raise refused(fault["statusCode"], fault["message"], tuple(fault["fields"]))


def _made(ask: Ask, sobject: str, record_id: str, **more: bool) -> Response:
    location = {"Location": f"{ask.base}/sobjects/{sobject}/{record_id}"}
    return wire.answer({"id": record_id, "success": True, "errors": [], **more}, 201, location)


def _fields(ask: Ask) -> list[str] | None:
    given = ask.http.args.get("fields")
    return [name.strip() for name in given.split(",")] if given else None


def _pairs(header: str, separator: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in header.split(separator))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


_PATHS: dict[str, dict[str, Handler]] = {
    "/": {"GET": resources},
    "/sobjects": {"GET": lambda ask: wire.answer(ask.world.org.global_describe())},
    "/sobjects/<name>": {"GET": lambda ask, name: wire.answer(ask.world.org.summary(name)), "POST": create},
    "/sobjects/<name>/describe": {"GET": lambda ask, name: wire.answer(ask.world.org.describe(name))},
    "/sobjects/<name>/<record_id>": {
        "GET": lambda ask, name, record_id: wire.answer(ask.world.org.get(name, record_id, _fields(ask))),
        "PATCH": update,
        "DELETE": delete,
    },
    "/sobjects/<name>/<field>/<value>": {
        "GET": lambda ask, name, field, value: wire.answer(ask.world.org.get_by(name, field, value, _fields(ask))),
        "PATCH": upsert,
    },
    "/composite": {
        "GET": lambda ask: wire.answer({"sobjects": f"{ask.base}/composite/sobjects"}),
        "POST": several_calls,
    },
    "/composite/sobjects": {
        "POST": _collection,
        "PATCH": lambda ask: _collection(ask, update=True),
        "DELETE": delete_many,
    },
    "/composite/sobjects/<name>": {"GET": retrieve, "POST": retrieve},
    "/composite/sobjects/<name>/<field>": {
        "PATCH": lambda ask, name, field: _collection(ask, upsert_field=(name, field))
    },
    "/query": {"GET": query},
    "/query/<locator>": {"GET": lambda ask, locator: wire.answer(ask.world.cursors.next(locator, ask.base))},
    "/queryAll": {"GET": query},
    "/limits": {"GET": lambda ask: wire.answer(ask.world.limit.answer())},
}
_ROUTES = Map(wire.rules(_PATHS), strict_slashes=False, merge_slashes=False)
