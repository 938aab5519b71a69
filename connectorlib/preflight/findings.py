"""What `check` finds: a mark, the subject, the text, and what to do about it; asked of several systems at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.monitoring.humanize import counted
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.redaction import secrets
from connectorlib.values.text import shorten

MAX_LINE = 600  # characters


class Mark(StrEnum):
    GOOD = "good"
    #: Works, but probably not as intended, or not indefinitely.
    ODD = "odd"
    BAD = "bad"


SIGNS = {Mark.GOOD: "✔", Mark.ODD: "!", Mark.BAD: "✘"}
#: For a terminal that has no such characters.
PLAIN_SIGNS = {Mark.GOOD: "ok", Mark.ODD: "! ", Mark.BAD: "X "}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    mark: Mark
    #: The subject: `broker`, `queue readings`, `write[0]`.
    about: str
    text: str
    do: str = ""
    #: The kind of failure, which decides the exit code.
    kind: Kind | None = None
    code: str = ""


def good(about: str, text: str) -> Finding:
    return Finding(Mark.GOOD, about, text)


def odd(about: str, text: str, do: str = "") -> Finding:
    return Finding(Mark.ODD, about, text, do)


def bad(about: str, text: str, do: str = "", kind: Kind | None = None) -> Finding:
    return Finding(Mark.BAD, about, text, do, kind)


def failed(about: str, failure: Failure, do: str = "") -> Finding:
    """Return the finding for a failure."""
    text = f"{failure.code} {failure.text}".strip()
    return Finding(Mark.BAD, about, text, do, failure.kind, failure.code)


def line(finding: Finding, signs: Mapping[Mark, str] = SIGNS) -> str:
    """Return a finding as one line without secrets or control characters."""
    do = f" → {finding.do}" if finding.do else ""
    text = " ".join(f"{finding.about}: {finding.text}{do}".split())
    return f"{signs[finding.mark]} {shorten(secrets.redact(text), MAX_LINE)}"


def as_json(findings: Iterable[Finding], code: ExitCode) -> dict[str, Any]:
    """Return the findings as JSON values."""
    lines = [
        {
            "mark": str(each.mark),
            "about": secrets.redact(each.about),
            "text": secrets.redact(each.text),
            "do": secrets.redact(each.do),
            "code": each.code,
        }
        for each in findings
    ]
    return {"exit": int(code), "findings": lines}


def exit_code_of(findings: Iterable[Finding]) -> ExitCode:
    """Return the exit code of `check`: what somebody has to correct counts before an outage, which may pass."""
    kinds = {each.kind for each in findings if each.mark is Mark.BAD}
    if Kind.CONFIGURATION in kinds:
        return ExitCode.BAD_CONFIGURATION
    if Kind.REFUSED in kinds:
        return ExitCode.REFUSED
    if kinds - {Kind.UNAVAILABLE}:
        return ExitCode.FAILED
    return ExitCode.UNREACHABLE if kinds else ExitCode.DONE


def summary(findings: Iterable[Finding]) -> str:
    """Return the last line."""
    marks = [each.mark for each in findings]
    wrong, remarks = marks.count(Mark.BAD), marks.count(Mark.ODD)
    if wrong:
        return f"{counted(wrong, 'error')} in {counted(len(marks), 'check')}"
    return f"OK, {counted(remarks, 'warning')}" if remarks else "OK"


#: A name, and the function that finds out about one target.
Group = tuple[str, Callable[[], Iterable[Finding]]]


def run(groups: Sequence[Group]) -> Iterator[Finding]:
    """Run all groups in parallel; yield their findings, group by group in order."""
    if not groups:
        return
    with ThreadPoolExecutor(len(groups), thread_name_prefix="check") as workers:
        for future in [workers.submit(_findings_of, about, group) for about, group in groups]:
            yield from future.result()


def _findings_of(about: str, group: Callable[[], Iterable[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        for each in group():  # one by one: the findings before a failure count
            found.append(each)
    except Failed as error:
        found.append(failed(about, error.failure))
    except Exception as error:  # a bug of ours must not hide what the other groups have found
        text = f"{type(error).__name__}: {error}"
        found.append(Finding(Mark.BAD, about, text, "this is a bug in check; please report it", Kind.UNKNOWN, "bug"))
    return found
