"""The calls of one division to its org. The only module that imports simple_salesforce, whose exceptions end here.

Every failure leaves as `Failed`. One of them says that nobody knows what became of a write (`Unanswered`): whoever
asked has to find out, by a key, or to decide. A token that is not taken is replaced; two new ones are a refusal.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

from simple_salesforce.api import Salesforce as Api
from simple_salesforce.exceptions import SalesforceError

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import json_text, shorten
from sfconnector.salesforce import error_codes, login, responses
from sfconnector.salesforce.error_codes import SfError
from sfconnector.salesforce.http_client import NOT_SENT, Lost, NotSent, Session, host_of, malformed
from sfconnector.salesforce.login import PLACE, Token, TokenProvider
from sfconnector.salesforce.responses import Result
from sfconnector.salesforce.usage import Usage
from sfconnector.settings import Salesforce

__all__ = ["Client", "Rejected", "Result", "Unanswered", "Usage"]

CASE = "Case"
CASE_PLACE = "case"

#: Seconds past a call's own time limits after which it counts as stuck.
GRACE = 30.0
#: Seconds without use after which a connection may be dead without anybody having said so, as firewalls do it.
IDLE = 30.0
#: The same for a request that must not be sent twice: a server's own limit on idle connections may be a few seconds.
IDLE_UNREPEATABLE = 2.0
#: Pages of one query, 2,000 records each: far more than a lookup has values for.
MOST_PAGES = 100

#: New tokens that one call may try: a second expiry can end one, two in a row are no accident.
MOST_NEW_TOKENS = 2

#: Salesforce says 401 with the code of an expired session for what another log-in does not mend, too.
_PERMANENT = ("not valid for use with the REST API", "Connected app is not attached")
#: The request was not begun: too busy, in maintenance, not routed.
_NOT_BEGUN = frozenset({420, 429, 503})
#: The request itself is at fault though no error of Salesforce's says so: an edge in front of it answers.
_OWN_FAULT = frozenset({400, 413, 414, 431})


class Rejected(Failed):
    """The whole call was answered with errors; `failure` is the one that decides."""

    def __init__(self, failure: Failure, errors: tuple[SfError, ...], status: int) -> None:
        super().__init__(failure)
        self.errors = errors
        self.status = status


class Unanswered(Failed):
    """A write was sent, and whether it was done is unknown."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str  # behind /services/data/vNN.N/
    place: str = PLACE
    params: Mapping[str, str] | None = None
    body: bytes | None = None
    headers: Mapping[str, str] | None = None
    repeatable: bool = True

    @property
    def writes(self) -> bool:
        return self.method != "GET"


class Client:
    """Used by one thread; `stuck` may be asked from any."""

    def __init__(
        self, settings: Salesforce, division: str, tokens: TokenProvider, errors: Mapping[str, str] | None = None
    ) -> None:
        self._settings = settings
        self._division = division
        self._errors = errors or {}
        self._session = Session()
        self._api: Api | None = None
        #: A token that is to be replaced before the next call.
        self._stale: Token | None = None
        self._no_limits = False
        self._call: tuple[str, float, float] | None = None  # what, since, stuck after
        self.tokens = tokens
        self.token: Token | None = None
        #: Since when there is one, and how many there were (monotonic).
        self.token_since: float | None = None
        self.tokens_taken = 0
        #: What the latest answer that told it said about the org's API calls.
        self.usage: Usage | None = None
        #: API calls made, without log-ins; and how many of them were a second try of a lost one.
        self.calls = 0
        self.repeats = 0

    def __repr__(self) -> str:
        return f"<Client {self._division}>"

    def close(self) -> None:
        """Close the connections; the token stays valid (see `TokenProvider.close`)."""
        self._session.close()
        self.tokens.close()

    def stuck(self) -> str | None:
        """Return what hangs when a call is past its own time limit; for the watchdog."""
        call = self._call
        now = time.monotonic()
        if call is None or now < call[2]:
            return None
        return f"{call[0]} has been running for {now - call[1]:.0f} s"

    # -- the calls

    def log_in(self) -> Token:
        """Return the token, got by a log-in if there is none. Raise Failed."""
        with self._watched("a log-in", 2 * login.TIME_LIMIT):
            return self._ready()

    def describe(self, sobject: str) -> dict[str, Any]:
        """Return what an sObject is made of. Raise Failed; Rejected with NOT_FOUND if there is none of that name."""
        value = self._send(_Request("GET", f"sobjects/{quote(sobject, safe='')}/describe"))
        if not isinstance(value, dict) or not isinstance(value.get("fields"), list):
            raise _senseless(f"the description of {sobject}")
        return value

    def versions(self) -> list[str]:
        """Return the API versions that the org has, oldest first; none if it does not tell. Raise Failed."""
        token = self.log_in()
        with self._watched("the list of API versions", login.TIME_LIMIT):
            try:
                answer = self._session.request("GET", f"{token.instance_url}/services/data", timeout=login.TIME_LIMIT)
            except NotSent as error:
                raise _not_sent(error) from None
            except Lost as lost:
                raise Failed(Failure(Kind.UNAVAILABLE, "no-answer", lost.text, PLACE)) from None
        value = responses.decode(answer.content)
        found = value if isinstance(value, list) else []
        return [str(each["version"]) for each in found if isinstance(each, Mapping) and "version" in each]

    def query(self, soql: str) -> list[dict[str, Any]]:
        """Return the records of all pages. Raise Failed; Rejected if the query is refused."""
        found: list[dict[str, Any]] = []
        request = _Request("GET", "query", params={"q": soql})
        for _ in range(MOST_PAGES):
            page = responses.records_of(self._send(request))
            if page is None:
                raise _senseless("a query")
            records, following = page
            found += records
            if not following:
                return found
            request = _Request("GET", f"query/{quote(following, safe='')}")
        text = f"a query gives more than {MOST_PAGES} pages of records"
        raise Failed(Failure(Kind.CONFIGURATION, "too-many-records", text, PLACE))

    def create(
        self, records: Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None, *, repeatable: bool
    ) -> list[Result]:
        """Create Cases, at most 200, and return what became of each. Raise Failed if the call itself fails.

        `repeatable`: sent twice it does no harm, so a lost connection is worth a second try.
        """
        return self._collection("POST", "composite/sobjects", records, headers, repeatable)

    def upsert(
        self,
        field: str,
        records: Sequence[Mapping[str, Any]],
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool = True,
    ) -> list[Result]:
        """Create or change Cases by an external-id field that is in each record; otherwise like `create`."""
        path = f"composite/sobjects/{CASE}/{quote(field, safe='')}"
        return self._collection("PATCH", path, records, headers, repeatable)

    def limits(self) -> Usage:
        """Ask for the API calls used, which is also the cheapest sign of life. Raise Failed.

        The resource needs the right to view the setup. A user without it gets the answer of one that needs no right,
        whose header tells the same; a `maximum` of 0 means that it did not.
        """
        if not self._no_limits:
            try:
                told = responses.daily_of(self._send(_Request("GET", "limits")), time.monotonic())
            except Rejected as rejected:
                if rejected.failure.kind is not Kind.CONFIGURATION:  # as INSUFFICIENT_ACCESS and NOT_FOUND are
                    raise
            else:
                if told is not None:
                    self.usage = told
                    return told
            self._no_limits = True
        self._send(_Request("GET", ""))
        return self.usage or Usage(0, 0, time.monotonic())

    def _collection(
        self,
        method: str,
        path: str,
        records: Sequence[Mapping[str, Any]],
        headers: Mapping[str, str] | None,
        repeatable: bool,
    ) -> list[Result]:
        if not records:
            return []
        typed = [{"attributes": {"type": CASE}, **record} for record in records]
        # Not by simple_salesforce, whose JSON writer turns decimals into floats or fails on them.
        body = json_text({"allOrNone": False, "records": typed}).encode()
        value = self._send(_Request(method, path, CASE_PLACE, None, body, headers, repeatable))
        results = responses.results_of(value, len(records))
        if results is None:
            text = f"the answer does not have one result for each of {len(records)} records"
            raise Unanswered(Failure(Kind.UNAVAILABLE, "no-answer", text, CASE_PLACE))
        return results

    # -- one call: the token, the request, the second tries

    def _send(self, request: _Request) -> Any:
        """Return the JSON of the answer. Raise Failed."""
        seconds = self._settings.timeout
        with self._watched(f"a call ({request.method} {request.path})", seconds + 2 * login.TIME_LIMIT):
            until = time.monotonic() + seconds
            lost: Lost | None = None
            new_refused = 0
            while True:
                taken = self.tokens_taken
                try:
                    until += self._time_to_be_ready()
                    status, value = self._exchange(request, until - time.monotonic())
                    if not _is_expired(status, value):
                        return self._meaning(request, status, value)
                    new_refused += self.tokens_taken > taken  # the age of the old one is why it was refused
                    self._heed_expiry(status, value, final=new_refused >= MOST_NEW_TOKENS)
                except Lost as error:
                    if not request.repeatable or error.timed_out or lost is not None:
                        raise _unanswered(request, error) from None
                    lost = error
                    self.repeats += 1
                    self._session.drop()
                except NotSent as error:
                    raise _unanswered(request, lost) if lost is not None else _not_sent(error) from None
                except Failed as failed:
                    if lost is not None and request.writes and failed.failure.kind is not Kind.REJECT:
                        raise Unanswered(failed.failure) from None  # it is about the second try only
                    raise

    def _time_to_be_ready(self) -> float:
        """Have a token; return how many seconds that took, which are not the call's."""
        before = time.monotonic()
        self._ready()
        return time.monotonic() - before

    def _ready(self) -> Token:
        """Have a token, and the API object that goes with it."""
        token = self.tokens.get(self._stale)
        self._stale = None
        if token is not self.token or self._api is None:
            self._api = _api_for(token, self._settings.api_version, self._session)
            self.token = token
            self.token_since, self.tokens_taken = time.monotonic(), self.tokens_taken + 1
        return token

    def _exchange(self, request: _Request, seconds: float) -> tuple[int, Any]:
        """Return status and JSON of the answer; the JSON is None if there is none. Raise Lost or NotSent."""
        assert self._api is not None
        self._session.freshen(IDLE if request.repeatable else IDLE_UNREPEATABLE)
        value: Any = None
        try:
            value = self._api.restful(
                request.path,
                params=dict(request.params) if request.params else None,
                method=request.method,
                data=request.body,
                headers=dict(request.headers or {}),
                timeout=max(seconds, 0.1),
            )
        except (SalesforceError, ValueError, TypeError, RecursionError):
            pass  # the answer itself is at hand, and says more than what was made of it
        finally:
            self.calls += self._session.sent
        answer = self._session.answer
        if answer is None:
            raise malformed()
        limit = responses.usage_of(answer.headers.get("Sforce-Limit-Info"), time.monotonic())
        self.usage = limit or self.usage
        # restful turns an empty list into None.
        return answer.status_code, responses.decode(answer.content) if value is None else value

    def _heed_expiry(self, status: int, value: Any, *, final: bool) -> None:
        """Have the token replaced, unless that cannot help. Raise Failed."""
        errors = responses.errors_of(value)
        text = responses.joined(errors) or f"HTTP {status}"
        code = errors[0].code if errors else f"http-{status}"
        if any(words in text for words in _PERMANENT):
            text += "; give the app the scope api, and the user the right to use the API and this app"
            self._refuse(code, text)
        self._stale = self.token
        if final:
            text += "; a token is refused right after its log-in: has the user's password expired, is its API closed?"
            self._refuse(code, text)

    def _refuse(self, code: str, text: str) -> NoReturn:
        refused = Failure(Kind.REFUSED, code, shorten(text, error_codes.MAX_TEXT), PLACE)
        self.tokens.refuse(refused)
        raise Failed(refused)

    # -- what an answer means

    def _meaning(self, request: _Request, status: int, value: Any) -> Any:
        if 200 <= status < 300 and value is not None:
            return value
        answer = self._session.answer
        assert answer is not None
        if 300 <= status < 400:
            self._stale = self.token  # the org may have moved; the next log-in says where to
            text = f"HTTP {status}, a redirect to {shorten(host_of(answer.headers.get('Location')))}"
            raise Failed(Failure(Kind.UNAVAILABLE, "redirect", text, PLACE))
        if errors := responses.errors_of(value):
            self._rejected(request, errors, status)
        text = responses.without_answer(status, answer.content)
        if status in _OWN_FAULT:
            self._rejected(request, (SfError(f"http-{status}", text),), status)
        failure = Failure(Kind.UNAVAILABLE, f"http-{status}", text, PLACE)
        begun = status not in _NOT_BEGUN and not 400 <= status < 500
        raise Unanswered(failure) if request.writes and begun else Failed(failure)

    def _rejected(self, request: _Request, errors: tuple[SfError, ...], status: int) -> NoReturn:
        error, kind = error_codes.gravest(errors, status, self._errors)
        # `done` is for the error of a record; a whole call that is refused has done nothing.
        told = error_codes.failure(error, kind or error_codes.kind_of(error, status) or Kind.UNKNOWN, request.place)
        raise Rejected(told, errors, status)

    @contextmanager
    def _watched(self, what: str, seconds: float) -> Iterator[None]:
        now = time.monotonic()
        self._call = (what, now, now + seconds + GRACE)
        try:
            yield
        finally:
            self._call = None


def _unanswered(request: _Request, lost: Lost) -> Failed:
    failure = Failure(Kind.UNAVAILABLE, "timeout" if lost.timed_out else "no-answer", lost.text, PLACE)
    return Unanswered(failure) if request.writes else Failed(failure)


def _not_sent(error: NotSent) -> Failed:
    kind = Kind.CONFIGURATION if error.code == NOT_SENT else Kind.UNAVAILABLE
    return Failed(Failure(kind, error.code, error.text, PLACE))


def _senseless(what: str) -> Failed:
    return Failed(Failure(Kind.UNAVAILABLE, "no-answer", f"{what} was answered with something else", PLACE))


def _is_expired(status: int, value: Any) -> bool:
    return status == 401 or (
        status >= 400 and any(error.code == "INVALID_SESSION_ID" for error in responses.errors_of(value))
    )


def _api_for(token: Token, version: str, session: Session) -> Api:
    """Return simple_salesforce in its "direct" mode, in which it never logs in itself."""
    api = Api(
        session_id=token.access_token,
        instance_url=token.instance_url,
        version=version,
        session=session,
        object_pairs_hook=dict,
    )
    # It makes https of every address, also of a sandbox on this machine.
    api.base_url = f"{token.instance_url}/services/data/v{version}/"
    api.headers.pop("X-PrettyPrint", None)
    return api
