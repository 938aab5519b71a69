"""What `check` has found: a mark, what it is about, what is so, and what to do. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from connectorlib.errors import Failure, Kind
from connectorlib.expressions import shorten
from connectorlib.service.process import ExitCode
from connectorlib.service.redaction import secrets

MOST = 600  # characters of one line


class Mark(StrEnum):
    GOOD = "good"
    #: Works, though hardly as it is meant, or not for ever.
    ODD = "odd"
    BAD = "bad"


SIGNS = {Mark.GOOD: "✔", Mark.ODD: "!", Mark.BAD: "✘"}
#: For a terminal that has no such characters.
PLAIN_SIGNS = {Mark.GOOD: "ok", Mark.ODD: "! ", Mark.BAD: "X "}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    mark: Mark
    #: What was looked at: `broker`, `queue readings`, `write[0]`.
    about: str
    text: str
    do: str = ""
    #: What kind of failure it is; decides the exit code of what is bad.
    kind: Kind | None = None
    code: str = ""


def good(about: str, text: str) -> Finding:
    return Finding(Mark.GOOD, about, text)


def odd(about: str, text: str, do: str = "") -> Finding:
    return Finding(Mark.ODD, about, text, do)


def bad(about: str, text: str, do: str = "", kind: Kind | None = None) -> Finding:
    return Finding(Mark.BAD, about, text, do, kind)


def failed(about: str, failure: Failure, do: str = "") -> Finding:
    """Return the finding for something that went wrong."""
    text = f"{failure.code} {failure.text}".strip()
    return Finding(Mark.BAD, about, text, do, failure.kind, failure.code)


def line(finding: Finding, signs: Mapping[Mark, str] = SIGNS) -> str:
    """Return a finding as one line, whatever the far side said."""
    do = f" → {finding.do}" if finding.do else ""
    text = " ".join(f"{finding.about}: {finding.text}{do}".split())
    return f"{signs[finding.mark]} {shorten(secrets.redact(text), MOST)}"


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
    """Return what `check` exits with: what somebody has to put right comes before what may pass by itself."""
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
        return f"{wrong} of {len(marks)} {'is' if wrong == 1 else 'are'} wrong"
    return f"nothing is wrong{f'; {remarks} to look at' if remarks else ''}"
