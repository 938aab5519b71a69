"""The sandbox's org without HTTP, for what needs a client that makes Cases; it raises what the real one would."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectorlib.errors import Failure, Kind
from sfconnector.salesforce import error_codes, responses
from sfconnector.salesforce.client import Rejected, Unanswered
from sfconnector.salesforce.login import Token, TokenProvider
from sfconnector.sandbox.org import Org
from sfconnector.sandbox.refusals import ApiError
from sfconnector.settings import Salesforce
from tests.unit.orgs import OrgClient

LOST = Failure(Kind.UNAVAILABLE, "no-answer", "the connection was lost", "salesforce")


class CaseClient(OrgClient):
    """Makes Cases in an org, and remembers each call: its records and headers.

    `before` and `after` are what happens at the next calls, one of them each time, before or after the org's work.
    """

    def __init__(self, org: Org | None = None) -> None:
        super().__init__(org or Org())
        (self.user,) = self.org.seed("User", [{"Username": "hvac@example.com", "LastName": "HVAC"}])
        self.calls: list[list[Mapping[str, Any]]] = []
        self.headers: list[Mapping[str, str]] = []
        self.before: list[Callable[[], object]] = []
        self.after: list[Callable[[], object]] = []
        self.repeatable: list[bool] = []
        self.repeats = 0
        self.described = 0
        self.usage = None
        self.token = Token("token", "https://acme.example", "", "")
        self.tokens = TokenProvider(Salesforce(), "hvac")  # nobody logs in

    @property
    def sizes(self) -> list[int]:
        return [len(call) for call in self.calls]

    def log_in(self) -> Token:
        return self.token

    def describe(self, sobject: str) -> dict[str, Any]:
        self.described += 1
        return self.org.describe(sobject)

    def limits(self) -> None:
        """A sign of life."""

    def create(
        self, records: Sequence[Mapping[str, Any]], headers: Mapping[str, str], *, repeatable: bool
    ) -> list[responses.Result]:
        self.repeatable.append(repeatable)
        return self._call(records, headers, None)

    def upsert(
        self, field: str, records: Sequence[Mapping[str, Any]], headers: Mapping[str, str]
    ) -> list[responses.Result]:
        return self._call(records, headers, ("Case", field))

    def _call(
        self, records: Sequence[Mapping[str, Any]], headers: Mapping[str, str], key: tuple[str, str] | None
    ) -> list[responses.Result]:
        self.calls.append(list(records))
        self.headers.append(headers)
        if self.before:
            self.before.pop(0)()
        typed = [{"attributes": {"type": "Case"}, **record} for record in records]
        try:
            assign = {"TRUE": True, "FALSE": False}.get(headers["Sforce-Auto-Assign"], True)
            told = self.org.collection(typed, self.user, upsert_field=key, auto_assign=assign)
        except ApiError as refused:
            raise rejected(refused.problems[0].code, refused.problems[0].message, refused.status) from refused
        if self.after:
            self.after.pop(0)()
        results = responses.results_of(told, len(records))
        assert results is not None
        return results


def rejected(code: str, text: str = "", status: int = 400) -> Rejected:
    """Return what a whole call that is refused raises."""
    error = error_codes.SfError(code, text)
    return Rejected(
        error_codes.failure(error, error_codes.kind_of(error, status) or Kind.UNKNOWN, "case"), (error,), status
    )


def raising(error: Exception) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


def lost() -> Callable[[], object]:
    """The answer does not come."""
    return raising(Unanswered(LOST))


def nothing() -> None:
    """What happens at most calls."""
