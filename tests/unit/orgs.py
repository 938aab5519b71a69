"""The sandbox's org without HTTP, for what needs only queries and descriptions of a client."""

from collections.abc import Mapping
from typing import Any

from connectorlib.errors import Failed, Kind
from sfconnector.salesforce import error_codes
from sfconnector.salesforce.describe import Described
from sfconnector.sandbox.org import Org
from sfconnector.sandbox.refusals import ApiError


class OrgClient:
    """Asks an org as the real client does, and remembers what it asked."""

    def __init__(self, org: Org) -> None:
        self.org = org
        self.asked: list[str] = []

    def query(self, soql: str) -> list[dict[str, Any]]:
        self.asked.append(soql)
        try:
            return list(self.org.query(soql))
        except ApiError as refused:
            (problem,) = refused.problems
            error = error_codes.SfError(problem.code, problem.message)
            kind = error_codes.kind_of(error, refused.status) or Kind.UNKNOWN
            raise Failed(error_codes.failure(error, kind, "salesforce")) from refused


def described(org: Org, sobject: str = "Case", **changes: Mapping[str, Any]) -> Described:
    """What an org says about an object, with changes to the description of fields."""
    answer = org.describe(sobject)
    fields = [{**field, **changes.get(field["name"], {})} for field in answer["fields"]]
    return Described({**answer, "fields": fields})
