"""Several calls in one: each may use the answers of those before it, as `@{referenceId.path}`. Pure, but for `send`.

With `allOrNone` the caller restores the org after a failure. Source: REST API guide, Composite.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sfconnector.sandbox import refusals
from sfconnector.sandbox.refusals import ApiError, ApiProblem, refused

MOST_CALLS = 25
MOST_HEAVY = 5  # queries and collections
_HEAVY = re.compile(r"/(query|queryAll|composite/sobjects)(?=[/?]|$)")
_REFERENCE = re.compile(r"@\{([A-Za-z]\w*)((?:\.\w+|\[\d+\])*)\}")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
HALTED = "The transaction was rolled back since another operation in the same transaction failed."

#: Sends one call: method, address, body (None: there is none), headers. Returns status, headers and JSON.
Send = Callable[[str, str, Any, Mapping[str, str]], tuple[int, Mapping[str, str], Any]]


def run(given: Any, send: Send) -> tuple[list[dict[str, Any]], bool]:
    """Return the answer of each call, in order, and whether all of them have to be undone. Raise ApiError."""
    calls = given.get("compositeRequest") if isinstance(given, Mapping) else None
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise refusals.unreadable("compositeRequest: a list is required at [line:1, column:1]")
    heavy = sum(1 for call in calls if _HEAVY.search(str(call.get("url"))))
    if len(calls) > MOST_CALLS or heavy > MOST_HEAVY:
        text = f"The limit of {MOST_CALLS} subrequests, {MOST_HEAVY} of them queries or collections, is exceeded"
        raise refused("LIMIT_EXCEEDED", text, None, 400)
    values: dict[str, Any] = {}
    answers = []
    for call in calls:
        status, headers, value = _sent(call, values, send)
        name = str(call.get("referenceId", ""))
        if status < 400:
            values[name] = value
        kept = {key: text for key, text in headers.items() if key == "Location"}
        answers.append({"body": value, "httpHeaders": kept, "httpStatusCode": status, "referenceId": name})
    failed = [answer["httpStatusCode"] >= 400 for answer in answers]
    if given.get("allOrNone") is not True or not any(failed):
        return answers, False
    halted = ApiError(ApiProblem("PROCESSING_HALTED", HALTED, None)).body()
    undone = [
        answer if bad else answer | {"body": halted, "httpHeaders": {}, "httpStatusCode": 400}
        for answer, bad in zip(answers, failed, strict=True)
    ]
    return undone, True


def _sent(call: Mapping[str, Any], values: Mapping[str, Any], send: Send) -> tuple[int, Mapping[str, str], Any]:
    headers = call.get("httpHeaders")
    try:
        url, body = _resolved(call.get("url"), values), _resolved(call.get("body"), values)
    except LookupError as error:
        text = f"Invalid reference specified. No value for {error.args[0]} found"
        return 400, {}, ApiError(ApiProblem("PROCESSING_HALTED", text, None)).body()
    return send(str(call.get("method")), str(url), body, headers if isinstance(headers, Mapping) else {})


def _resolved(value: Any, values: Mapping[str, Any]) -> Any:
    """Replace the references in all texts. Raise LookupError for one without a value."""
    if isinstance(value, Mapping):
        return {key: _resolved(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, values) for each in value]
    return _REFERENCE.sub(lambda found: _value(found, values), value) if isinstance(value, str) else value


def _value(found: re.Match[str], values: Mapping[str, Any]) -> str:
    try:
        value = values[found[1]]
        for name, index in _STEP.findall(found[2]):
            value = value[name] if name else value[int(index)]
    except (LookupError, TypeError):
        raise LookupError(found[0][2:-1]) from None
    return str(value)
