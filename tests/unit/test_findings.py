"""What `check` makes of what it found: lines, the exit code, and how long a certificate is good."""

from datetime import UTC, datetime, timedelta

import pytest

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.preflight import certificates
from connectorlib.preflight.findings import (
    PLAIN_SIGNS,
    Finding,
    Mark,
    as_json,
    bad,
    exit_code_of,
    failed,
    good,
    line,
    odd,
    run,
    summary,
)
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.redaction import secrets
from tests.services.salesforce import private_key
from tests.services.selfsigned import certificate

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def wrong(*kinds: Kind | None) -> list[Finding]:
    return [good("broker", "is there"), odd("queue", "is odd"), *(bad("it", "is wrong", kind=kind) for kind in kinds)]


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ((), ExitCode.DONE),
        ((None,), ExitCode.FAILED),
        ((Kind.REJECT,), ExitCode.FAILED),
        ((Kind.UNAVAILABLE,), ExitCode.UNREACHABLE),
        ((Kind.REFUSED,), ExitCode.REFUSED),
        ((Kind.CONFIGURATION,), ExitCode.BAD_CONFIGURATION),
        ((Kind.UNAVAILABLE, None), ExitCode.FAILED),
        ((Kind.UNAVAILABLE, Kind.REFUSED), ExitCode.REFUSED),
        ((None, Kind.REFUSED), ExitCode.REFUSED),
        ((Kind.REFUSED, Kind.CONFIGURATION, Kind.UNAVAILABLE), ExitCode.BAD_CONFIGURATION),
    ],
)
def test_what_somebody_has_to_put_right_decides_the_exit_code(kinds: tuple[Kind | None, ...], code: ExitCode) -> None:
    assert exit_code_of(wrong(*kinds)) == code


def test_a_finding_is_one_line_whatever_the_far_side_said() -> None:
    failure = Failure(Kind.CONFIGURATION, "42703", 'ERROR: column "x"\n\tdoes not exist\n')
    found = failed("write[0]", failure, "put it right")
    assert line(found) == '✘ write[0]: 42703 ERROR: column "x" does not exist → put it right'
    assert line(found, PLAIN_SIGNS).startswith("X  write[0]: ")
    assert line(good("broker", "is there")) == "✔ broker: is there"
    assert line(odd("queue", "is odd")) == "! queue: is odd"


def test_no_secret_is_in_a_line_or_in_json() -> None:
    secrets.add("pa55word-of-a-test")
    finding = bad("database", "user app with pa55word-of-a-test", "not pa55word-of-a-test")
    assert "pa55word" not in line(finding)
    assert "pa55word" not in str(as_json([finding], ExitCode.FAILED))


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([good("a", "b")], "OK"),
        ([good("a", "b"), odd("a", "b")], "OK, 1 warning"),
        (wrong(None), "1 error in 3 checks"),
        (wrong(None, None), "2 errors in 4 checks"),
    ],
)
def test_the_last_line_sums_up(findings: list[Finding], said: str) -> None:
    assert summary(findings) == said


def test_a_far_side_that_fails_keeps_nothing_back_of_what_was_found_before_and_elsewhere() -> None:
    def failing():
        yield good("log-in", "done")
        raise Failed(Failure(Kind.UNAVAILABLE, "timeout", "no answer"))

    def broken():
        raise KeyError("x")

    found = list(run([("one", failing), ("two", broken), ("three", lambda: [good("queue", "is there")])]))
    assert [(each.mark, each.about, each.kind) for each in found] == [
        (Mark.GOOD, "log-in", None),
        (Mark.BAD, "one", Kind.UNAVAILABLE),
        (Mark.BAD, "two", Kind.UNKNOWN),
        (Mark.GOOD, "queue", None),
    ]


@pytest.mark.parametrize(
    ("days", "mark", "text"),
    [
        (100, Mark.GOOD, "good until 2027-03-04"),
        (20, Mark.ODD, "expires on 2026-12-14, in 20 days"),
        (0, Mark.BAD, "expired on 2026-11-24"),
        (-100, Mark.BAD, "expired on 2026-08-16"),
    ],
)
def test_a_certificate_is_told_before_it_expires(days: int, mark: Mark, text: str) -> None:
    found = certificates.finding("certificate", NOW + timedelta(days), "renew it", NOW)
    assert (found.mark, found.text) == (mark, text)


def test_of_several_certificates_the_first_end_counts() -> None:
    key = private_key()
    end = certificates.in_pem(key + certificate(key, 100) + certificate(key, 5))
    assert end is not None
    assert timedelta(4) < end - datetime.now(UTC) < timedelta(6)
    assert certificates.in_pem(key) is None
    assert certificates.in_pem("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----") is None
