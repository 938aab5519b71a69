"""Refusals of the org, with Salesforce's codes, messages and HTTP statuses.

An answer about one record has `errorCode`, a result in a collection `statusCode`. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from connectorlib.dataclass import dataclass

#: HTTP statuses other than 400, by code.
STATUSES = {
    "NOT_FOUND": 404,
    "UNABLE_TO_LOCK_ROW": 500,
    "UNKNOWN_EXCEPTION": 500,
    "APEX_ERROR": 500,
    "INSUFFICIENT_ACCESS_OR_READONLY": 403,
    "INSUFFICIENT_ACCESS": 403,
    "STORAGE_LIMIT_EXCEEDED": 403,
    "LIMIT_EXCEEDED": 403,
    "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE": 503,
    "SERVER_UNAVAILABLE": 503,
}


@dataclass(frozen=True, slots=True)
class ApiProblem:
    """One error of an answer. `fields` None: the answer has no key `fields`."""

    code: str
    message: str
    fields: tuple[str, ...] | None = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


class ApiError(Exception):
    """A refusal, with the HTTP status for when it is the whole answer."""

    def __init__(self, *problems: ApiProblem, status: int | None = None) -> None:
        super().__init__("; ".join(f"{problem.code}: {problem.message}" for problem in problems))
        self.problems = problems
        self.status = status or STATUSES.get(problems[0].code, 400)

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self.body()

    def body(self) -> list[Any]:
        """Return the answer to a call about one record."""
        answers = []
        for problem in self.problems:
            answer: dict[str, Any] = {"message": problem.message, "errorCode": problem.code}
            if problem.fields is not None:
                answer["fields"] = list(problem.fields)
            answers.append({**answer, **problem.extra})
        return answers

    def in_collection(self) -> list[dict[str, Any]]:
        """Return the `errors` of one record in a collection."""
        return [
            {
                "statusCode": problem.code,
                "message": problem.message,
                "fields": list(problem.fields or ()),
                **problem.extra,
            }
            for problem in self.problems
        ]


class Malformed(ApiError):
    """A body that cannot be read as records: it refuses the whole collection."""


class SeveralMatch(ApiError):
    """An external id of several records: the answer is their URLs, with status 300."""

    def __init__(self, urls: Iterable[str]) -> None:
        self.urls = list(urls)
        super().__init__(ApiProblem("MULTIPLE_CHOICES", "external id matches several records", None), status=300)

    def body(self) -> list[Any]:
        return self.urls


def refused(code: str, text: str, fields: tuple[str, ...] | None = (), status: int | None = None) -> ApiError:
    return ApiError(ApiProblem(code, text, fields), status=status)


def not_found(message: str = "The requested resource does not exist") -> ApiError:
    return refused("NOT_FOUND", message, None)


def no_external_id(name: str) -> ApiError:
    return not_found(f"Provided external ID field does not exist or is not accessible: {name}")


def deleted(status: int = 404) -> ApiError:
    return ApiError(ApiProblem("ENTITY_IS_DELETED", "entity is deleted"), status=status)


def no_column(name: str, sobject: str) -> Malformed:
    return Malformed(ApiProblem("INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject}", None))


def given_twice(relationship: str, name: str) -> Malformed:
    text = f"Cannot specify both an external ID reference {relationship} and a salesforce id, {name}"
    return Malformed(ApiProblem("INVALID_FIELD", text))


def not_in_body(name: str) -> ApiError:
    return refused("INVALID_FIELD", f"The {name} field should not be specified in the sobject data.")


def unreadable(text: str) -> Malformed:
    return Malformed(ApiProblem("JSON_PARSER_ERROR", text, None))


def not_writeable(names: Iterable[str]) -> ApiProblem:
    listed = tuple(names)
    text = (
        f"Unable to create/update fields: {', '.join(listed)}. Please check the security settings of this field and"
        " verify that it is read/write for your profile or permission set."
    )
    return ApiProblem("INVALID_FIELD_FOR_INSERT_UPDATE", text, listed)


def required(names: Iterable[str]) -> ApiProblem:
    listed = tuple(names)
    return ApiProblem("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(listed)}]", listed)


def no_foreign_key(value: str, name: str, sobject: str) -> ApiProblem:
    return ApiProblem(
        "INVALID_FIELD", f"Foreign key external ID: {value} not found for field {name} in entity {sobject}"
    )


def several_records(label: str, ids: Iterable[str]) -> ApiProblem:
    text = f"{label}: more than one record found for external id field: [{', '.join(ids)}]"
    return ApiProblem("DUPLICATE_EXTERNAL_ID", text)


def duplicate_value(name: str, record_id: str) -> ApiProblem:
    return ApiProblem(
        "DUPLICATE_VALUE", f"duplicate value found: {name} duplicates value on record with id: {record_id}"
    )


def key_twice(value: str, name: str) -> ApiProblem:
    what = "id" if name == "Id" else "external id"
    return ApiProblem("DUPLICATE_VALUE", f"Duplicate {what} specified: {value}", (name,))


def bad_reference(names: Iterable[str] = ()) -> ApiProblem:
    return ApiProblem("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", tuple(names))


def locked(ids: Iterable[str]) -> ApiProblem:
    listed = list(ids)
    text = f"unable to obtain exclusive access to this record or {len(listed)} records: {','.join(listed)}"
    return ApiProblem("UNABLE_TO_LOCK_ROW", text)


ROLLED_BACK = ApiProblem(
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone header",
)
TOO_MANY = ApiProblem(
    "EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200 records into this call", None
)
