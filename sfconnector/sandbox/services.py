"""The checks before the resources of /services: tokens, API versions, limits, maintenance."""

import re
from urllib.parse import unquote

from werkzeug.datastructures import Authorization
from werkzeug.wrappers import Request, Response

from connectorlib.service import pages
from sfconnector.sandbox import faults, oauth, refusals, rest, wire
from sfconnector.sandbox.api_limit import HEADER
from sfconnector.sandbox.refusals import ApiError, refused
from sfconnector.sandbox.world import World

OLDEST, NEWEST = 31, 68
LONGEST = 16_384  # bytes, of the URI and the headers together
SEASONS = ("Summer", "Winter", "Spring")
_DATA = re.compile(r"/services/data(?:/v(?P<version>\d+\.\d)(?P<path>/.*)?)?/?")


def respond(world: World, http: Request, given: wire.JsonBody, fault: faults.FaultRule | None) -> Response:
    """Answer a request below /services; refusals are answers too."""
    if world.switches.maintenance == "down":
        return wire.page(pages.environment(__package__).get_template("maintenance.html").render(), 503)
    path = raw_path(http)
    if path.startswith("/services/oauth2/"):
        return _oauth(world, http, path.removeprefix("/services/oauth2/"))
    match = _DATA.fullmatch(path)
    if match is None:
        return wire.answer(refusals.not_found().body(), 404)
    if match["version"] is None:
        return wire.answer(_versions())
    counted: dict[str, str] = {}
    try:
        response = _data(world, http, given, fault, match["version"], match["path"] or "/")
        counted = {HEADER: world.limit.header()}
    except ApiError as error:
        response = wire.answer(error.body(), error.status)
        if error.status != 401:
            counted = {HEADER: world.limit.header()}
    response.headers.extend(counted)
    return response


def raw_path(http: Request) -> str:
    """Return the path as it was sent, without decoding."""
    uri: str = http.environ["REQUEST_URI"]
    return uri.partition("?")[0]


def token_of(http: Request) -> str:
    return http.headers.get("Authorization", "").partition(" ")[2].strip()


def login_form(http: Request) -> dict[str, str]:
    """Return the form in the body; one in the address is ignored, since logs would show the secrets."""
    return http.form.to_dict()


def basic(http: Request) -> tuple[str, str] | None:
    """Return user and password of a Basic header."""
    given: Authorization | None = http.authorization
    if given is None or given.type != "basic":
        return None
    return unquote(given.username or ""), unquote(given.password or "")


def _data(
    world: World, http: Request, given: wire.JsonBody, fault: faults.FaultRule | None, version: str, path: str
) -> Response:
    number = float(version)
    if number > NEWEST:
        raise refusals.not_found()
    if number < OLDEST:
        text = f"The requested API version is no longer supported: v{version}"
        raise refused("UNSUPPORTED_API_VERSION", text, None, 410)
    user = world.accounts.authorise(http.headers.get("Authorization"))
    _check_length(http)
    world.limit.count()
    world.journal.count_call(user.username)
    if world.switches.maintenance == "read-only" and http.method != "GET":
        text = "Updates can't be made during maintenance. Try again when maintenance is complete."
        raise refused("INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", text, None)
    return rest.respond(rest.Ask(world, http, user, version, given, fault), path)


def _check_length(http: Request) -> None:
    uri = len(http.environ["REQUEST_URI"])
    if uri > LONGEST:
        raise refused("URI_TOO_LONG", "The length of the URI exceeds the 16,384 byte limit.", None, 414)
    if uri + sum(len(name) + len(value) for name, value in http.headers) > LONGEST:
        text = "The combined length of the URI and headers exceeds the 16,384 byte limit."
        raise refused("REQUEST_HEADER_FIELDS_TOO_LARGE", text, None, 431)


def _versions() -> list[dict[str, str]]:
    versions = []
    for number in range(OLDEST, NEWEST + 1):
        passed = number - OLDEST  # three a year since Summer '14
        year = 14 + (passed + 2) // 3
        versions.append(
            {"label": f"{SEASONS[passed % 3]} '{year}", "url": f"/services/data/v{number}.0", "version": f"{number}.0"}
        )
    return versions


def _oauth(world: World, http: Request, what: str) -> Response:
    no_store = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    form, header = login_form(http), basic(http)
    if http.method != "POST":
        return wire.answer({"error": "invalid_request", "error_description": "must use HTTP POST"}, 400, no_store)
    try:
        if what == "token":
            answer = _token(world, form, header, http.host_url.rstrip("/"))
        elif what == "introspect":
            answer = oauth.introspect(world.accounts, form, header)
        elif what == "revoke":
            oauth.revoke(world.accounts, form.get("token", ""))
            return Response(status=200, headers=no_store)
        else:
            return wire.answer(refusals.not_found().body(), 404)
    except oauth.Refused as error:
        return wire.answer(error.body(), 400, no_store)
    return wire.answer(answer, 200, no_store)


def _token(world: World, form: dict[str, str], header: tuple[str, str] | None, url: str) -> dict[str, str]:
    asking = oauth.asked_by(form, header)
    try:
        answer = oauth.give_token(world.accounts, form, header, url)
    except oauth.Refused as error:
        world.journal.count_login(asking, error.error)
        raise
    world.journal.count_login(asking, "granted")
    return answer


def loggable_form(form: dict[str, str]) -> dict[str, str]:
    """Return the parts of a log-in that the journal may hold."""
    return {key: value for key, value in form.items() if key in ("grant_type", "client_id", "username")}


def records_of(path: str, body: object) -> list[object]:
    """Return the records in the body of a data call, for fault rules."""
    if isinstance(body, dict):
        listed = body.get("records")
        if isinstance(listed, list):
            return listed
        parts = path.split("/")
        if len(parts) == 8 and parts[4] == "sobjects":  # .../sobjects/Case/Message_Id__c/m-1
            return [{unquote(parts[6]): unquote(parts[7]), **body}]
        return [body]
    return []
