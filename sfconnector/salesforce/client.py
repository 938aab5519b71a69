"""The calls of a division to its org. Translates the exceptions of simple_salesforce.

Every failure leaves as `Failed`. One of them says that nobody knows what became of a write (`Unanswered`): whoever
asked has to find out, by a key, or to decide. A token that is not taken is replaced; two new ones are a refusal.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn
from urllib.parse import quote

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import shorten
from connectorlib.formats.json_codec import json_bytes
from connectorlib.service.http_client import Lost, NotSent, Session, host_of, malformed
from connectorlib.service.http_exchange import Meanwhile
from sfconnector.salesforce import error_codes, login, responses
from sfconnector.salesforce.error_codes import SfError
from sfconnector.salesforce.login import PLACE, Token, TokenProvider
from sfconnector.salesforce.responses import Result
from sfconnector.salesforce.rest_library import Api, SalesforceError
from sfconnector.salesforce.usage import Usage
from sfconnector.settings import Salesforce

CASE = "Case"
CASE_PLACE = "case"

#: Seconds after the time limit of a call from which it counts as stuck.
GRACE = 30.0
#: Seconds of idleness after which a firewall may have dropped a connection silently.
IDLE = 30.0
#: The same for a request that must not be sent twice: servers may close idle connections after a few seconds.
IDLE_UNREPEATABLE = 2.0
#: Pages of one query, 2,000 records each: far more than a lookup needs.
MOST_PAGES = 100

#: New tokens that one call may try: one may be revoked by chance, two in a row are not.
MOST_NEW_TOKENS = 2

#: Calls in a row that nothing answered, after which a log-in asks where the org is now; then after every twelfth.
_SILENCES = (3, 6)
_EVERY_SILENCE = 12

#: Answered with 401 and the code of an expired session, though another log-in does not help.
_PERMANENT = ("not valid for use with the REST API", "Connected app is not attached")
#: Statuses of a request that was not processed: too busy, in maintenance, not routed.
_NOT_BEGUN = frozenset({420, 429, 503})
#: Statuses of a bad request when an edge server answers instead of Salesforce.
_OWN_FAULT = frozenset({400, 413, 414, 431})


class Rejected(Failed):
    """The whole call was answered with errors; `failure` is the one that decides."""

    def __init__(self, failure: Failure, errors: tuple[SfError, ...], status: int) -> None:
        super().__init__(failure)
        self.errors = errors
        self.status = status


class Unanswered(Failed):
    """A write was sent, and its outcome is unknown."""


@dataclass(frozen=True, slots=True)
class Subrequest:
    """One of several calls in one; `path` is that after /services/data/vNN.N/."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str  # after /services/data/vNN.N/
    place: str = PLACE
    params: Mapping[str, str] | None = None
    body: bytes | None = None
    headers: Mapping[str, str] | None = None
    repeatable: bool = True

    @property
    def writes(self) -> bool:
        return self.method != "GET"


class Client:
    """Used by one thread; any thread may call `stuck`."""

    def __init__(
        self,
        settings: Salesforce,
        division: str,
        tokens: TokenProvider,
        errors: Mapping[str, str] | None = None,
        *,
        session: Session | None = None,
    ) -> None:
        self._settings = settings
        self._division = division
        self._errors = errors or {}
        self._session = session or login.session_for(settings)
        self._api: Api | None = None
        #: A token to be replaced before the next call.
        self._stale: Token | None = None
        self._no_limits = False
        #: Calls in a row without any answer.
        self._silence = 0
        self._call: tuple[str, float, float] | None = None  # what, since, stuck after
        self.tokens = tokens
        #: Work for the time in which an answer is awaited; None: there is none.
        self.meanwhile: Meanwhile | None = None
        self.token: Token | None = None
        #: When the current token was issued (monotonic), and the number of tokens so far.
        self.token_since: float | None = None
        self.tokens_taken = 0
        #: The org's API calls, from the latest answer that had them.
        self.usage: Usage | None = None
        #: API calls, without log-ins; and how many of them repeated a lost one.
        self.calls = 0
        self.repeats = 0

    def __repr__(self) -> str:
        return f"<Client {self._division}>"

    def close(self) -> None:
        """Close the connections; the token stays valid (see `TokenProvider.close`)."""
        self._session.close()
        self.tokens.close()

    def forgive(self) -> None:
        """Let the next call log in again if the last log-in was refused, or if nothing answers where it led to. Any
        thread may call it."""
        self.tokens.forgive()
        if self._silence:
            self._stale = self.token

    def stuck(self) -> str | None:
        """Return what hangs if a call has exceeded its time limit; for the watchdog."""
        call = self._call
        now = time.monotonic()
        if call is None or now < call[2]:
            return None
        return f"{call[0]} has been running for {now - call[1]:.0f} s"

    # -- the calls

    def log_in(self) -> Token:
        """Return the token; log in if there is none. Raise Failed."""
        with self._watched("a login", 2 * login.TIME_LIMIT):
            return self._ready()

    def describe(self, sobject: str) -> dict[str, Any]:
        """Return the description of an sObject. Raise Failed; Rejected with NOT_FOUND if there is no such object."""
        value = self._send(_Request("GET", f"sobjects/{quote(sobject, safe='')}/describe"))
        if not isinstance(value, dict) or not isinstance(value.get("fields"), list):
            raise _senseless(f"the description of {sobject}")
        return value

    def versions(self) -> list[str]:
        """Return the API versions that the org has, oldest first; none if the answer has none. Raise Failed."""
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

        `repeatable`: sending it twice is harmless, so it is repeated after a lost connection.
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
        """Create or update Cases by an external-id field that each record has; otherwise like `create`."""
        path = f"composite/sobjects/{CASE}/{quote(field, safe='')}"
        return self._collection("PATCH", path, records, headers, repeatable)

    def composite(self, calls: Sequence[Subrequest]) -> list[tuple[int, Any]]:
        """Make at most 25 calls in one, five of them queries or collections, and return status and JSON of each, in
        order; or one after the other where the configuration says so. They are repeated after a lost connection, so all
        of them must be harmless when they come twice. Raise Failed if the call itself fails. Source: REST API guide,
        Composite."""
        if not self._settings.composite:
            return [(200, self._alone(call)) for call in calls]
        listed = [self._subrequest(position, call) for position, call in enumerate(calls)]
        body = json_bytes({"allOrNone": False, "compositeRequest": listed})
        value = self._send(_Request("POST", "composite", CASE_PLACE, None, body))
        answers = responses.answers_of(value, len(calls))
        if answers is None:
            text = f"the answer does not have one for each of {len(calls)} calls"
            raise Unanswered(Failure(Kind.UNAVAILABLE, "no-answer", text, CASE_PLACE))
        return answers

    def _alone(self, call: Subrequest) -> Any:
        body = None if call.body is None else json_bytes(call.body)
        return self._send(_Request(call.method, call.path, CASE_PLACE, None, body, call.headers))

    def _subrequest(self, position: int, call: Subrequest) -> dict[str, Any]:
        url = f"/services/data/v{self._settings.api_version}/{call.path}"
        made: dict[str, Any] = {"method": call.method, "url": url, "referenceId": f"call{position}"}
        if call.body is not None:
            made["body"] = call.body
        if call.headers:
            made["httpHeaders"] = dict(call.headers)
        return made

    def limits(self) -> Usage:
        """Ask for the used API calls, which is also the cheapest probe. Raise Failed.

        The resource needs the right to view the setup. A user without it gets the answer of one that needs no right,
        whose header tells the same; a `maximum` of 0 means that it did not.
        """
        if not self._no_limits:
            try:
                usage = responses.daily_of(self._send(_Request("GET", "limits")), time.monotonic())
            except Rejected as rejected:
                if rejected.failure.kind is not Kind.CONFIGURATION:  # as INSUFFICIENT_ACCESS and NOT_FOUND are
                    raise
            else:
                if usage is not None:
                    self.usage = usage
                    return usage
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
        body = json_bytes({"allOrNone": False, "records": typed})
        value = self._send(_Request(method, path, CASE_PLACE, None, body, headers, repeatable))
        results = responses.results_of(value, len(records))
        if results is None:
            text = f"the answer does not have one result for each of {len(records)} records"
            raise Unanswered(Failure(Kind.UNAVAILABLE, "no-answer", text, CASE_PLACE))
        return results

    # -- one call: token, request, repetition

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
                    new_refused += self.tokens_taken > taken  # an old token may just have expired
                    self._heed_expiry(status, value, final=new_refused >= MOST_NEW_TOKENS)
                except Lost as error:
                    self._heed_silence()
                    if not request.repeatable or error.timed_out or lost is not None:
                        raise _unanswered(request, error) from None
                    lost = error
                    self.repeats += 1
                    self._session.drop()
                except NotSent as error:
                    self._heed_silence()
                    raise _unanswered(request, lost) if lost is not None else _not_sent(error) from None
                except Failed as failed:
                    if lost is not None and request.writes and failed.failure.kind is not Kind.REJECT:
                        raise Unanswered(failed.failure) from None  # the failure is about the repetition only
                    raise

    def _time_to_be_ready(self) -> float:
        """Get a token; return the seconds that it took, which do not count towards the call."""
        before = time.monotonic()
        self._ready()
        return time.monotonic() - before

    def _ready(self) -> Token:
        """Return the token, with the API object for it in place."""
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
                meanwhile=self.meanwhile,
            )
        except (SalesforceError, ValueError, TypeError, RecursionError):
            pass  # the answer itself says more than the exception
        finally:
            self.calls += self._session.sent
        answer = self._session.answer
        if answer is None:
            raise malformed()
        self._silence = 0
        limit = responses.usage_of(answer.headers.get("Sforce-Limit-Info"), time.monotonic())
        self.usage = limit or self.usage
        # restful turns an empty list into None.
        return answer.status_code, responses.decode(answer.content) if value is None else value

    def _heed_silence(self) -> None:
        """Have the next call log in if nothing has answered for a while: the org may have moved to another address."""
        self._silence += 1
        if self._silence in _SILENCES or self._silence % _EVERY_SILENCE == 0:
            self._stale = self.token

    def _heed_expiry(self, status: int, value: Any, *, final: bool) -> None:
        """Have the token replaced before the next try. Raise Failed if that cannot help."""
        errors = responses.errors_of(value)
        text = responses.joined(errors) or f"HTTP {status}"
        code = errors[0].code if errors else f"http-{status}"
        self._stale = self.token
        if any(words in text for words in _PERMANENT):
            text += "; give the app the scope api, and the user the right to use the API and this app"
            raise Failed(_refused(code, text))
        if final:
            text += "; a token is refused right after its login: has the user's password expired, is its API closed?"
            raise Failed(_refused(code, text))

    # -- what an answer means

    def _meaning(self, request: _Request, status: int, value: Any) -> Any:
        if 200 <= status < 300 and value is not None:
            return value
        answer = self._session.answer
        assert answer is not None
        if 300 <= status < 400:
            self._stale = self.token  # the org may have moved; the next log-in returns the new address
            text = f"HTTP {status}, a redirect to {shorten(host_of(answer.headers.get('Location')))}"
            raise Failed(Failure(Kind.UNAVAILABLE, "redirect", text, PLACE))
        if errors := responses.errors_of(value):
            self._rejected(request, errors, status)
        text = responses.without_answer(status, answer.content)
        if status in _OWN_FAULT:
            self._rejected(request, (SfError(f"http-{status}", text),), status)
        failure = Failure(Kind.UNAVAILABLE, f"http-{status}", text, PLACE, retry_after=self._wait())
        begun = status not in _NOT_BEGUN and not 400 <= status < 500
        raise Unanswered(failure) if request.writes and begun else Failed(failure)

    def _rejected(self, request: _Request, errors: tuple[SfError, ...], status: int) -> NoReturn:
        error, kind = error_codes.gravest(errors, status, self._errors)
        # `done` applies to the error of a record; a call that is refused as a whole has done nothing.
        failure = error_codes.failure(error, kind or error_codes.kind_of(error, status) or Kind.UNKNOWN, request.place)
        failure = replace(failure, retry_after=max(failure.retry_after, self._wait()))
        raise Rejected(failure, errors, status)

    def _wait(self) -> float:
        """Return for how many seconds the answer asks to be left alone."""
        return responses.wait_of(self._session.answer.headers, time.time()) if self._session.answer is not None else 0.0

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
    return Failed(Failure(error.kind, error.code, error.text, PLACE, retry_after=error.retry_after))


def _refused(code: str, text: str) -> Failure:
    return Failure(Kind.REFUSED, code, shorten(text, error_codes.MAX_TEXT), PLACE)


def _senseless(what: str) -> Failed:
    return Failed(Failure(Kind.UNAVAILABLE, "no-answer", f"{what} was answered with something else", PLACE))


def _is_expired(status: int, value: Any) -> bool:
    return status == 401 or (
        status >= 400 and any(error.code == "INVALID_SESSION_ID" for error in responses.errors_of(value))
    )


def _api_for(token: Token, version: str, session: Session) -> Api:
    """Return simple_salesforce in direct mode, in which it never logs in."""
    api = Api(
        session_id=token.access_token,
        instance_url=token.instance_url,
        version=version,
        session=session,
    )
    # It would use https for every address, even for a sandbox on this machine.
    api.base_url = f"{token.instance_url}/services/data/v{version}/"
    api.headers.pop("X-PrettyPrint", None)
    return api
