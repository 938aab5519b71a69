"""What the answer of a token server means."""

import base64
import json
import time
from math import inf
from typing import Any

import pytest

from connectorlib.amqp.token_source import Token, advice, read_answer
from connectorlib.errors import Failure, Kind


def jwt(**claims: Any) -> str:
    """Return a token with these claims, whose signature is none: only the broker looks at that."""
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJh.{part}.c2ln"


def answer(**value: Any) -> bytes:
    return json.dumps({"access_token": "abc", **value}).encode()


@pytest.mark.parametrize(
    ("content", "life"),
    [
        (answer(expires_in=300), 300),
        (answer(expires_in="300"), 300),
        (answer(expires_in=300, access_token=jwt(iat=1000, exp=9000)), 300),
        (answer(access_token=jwt(iat=1000, exp=1600)), 600),
        (answer(expires_in="soon", access_token=jwt(iat=1000, exp=1600)), 600),
        (answer(expires_in=0, access_token=jwt(iat=1000, exp=1600)), 600),
        (answer(access_token=jwt(sub="x")), inf),
        (answer(access_token="a.b.c"), inf),
        (answer(access_token=jwt(exp="never")), inf),
        (answer(access_token="a.W10.c"), inf),
        (answer(), inf),
    ],
)
def test_how_long_a_token_lasts_is_in_the_answer_or_in_the_token(content: bytes, life: float) -> None:
    found = read_answer(200, content, 50.0)
    assert isinstance(found, Token)
    assert (found.life, found.end) == (life, 50.0 + life)


def test_a_token_that_does_not_say_when_it_was_issued_lasts_from_now_on() -> None:
    found = read_answer(200, answer(access_token=jwt(exp=time.time() + 1000)), 0.0)
    assert isinstance(found, Token)
    assert 900 < found.life <= 1000


def test_a_token_is_renewed_after_four_fifths_of_its_life() -> None:
    assert Token("abc", 50.0, 100.0).renewal == 130.0


def test_a_token_is_not_shown() -> None:
    assert "abc" not in repr(Token("abc", 0.0, 1.0))


def error(code: str, text: str | None = None) -> bytes:
    return json.dumps({"error": code, **({"error_description": text} if text else {})}).encode()


@pytest.mark.parametrize(
    ("status", "content", "failure"),
    [
        (401, error("invalid_client", "no such client"), Failure(Kind.REFUSED, "invalid_client", "no such client")),
        (400, error("invalid_client"), Failure(Kind.REFUSED, "invalid_client", "")),
        (400, error("unauthorized_client"), Failure(Kind.REFUSED, "unauthorized_client", "")),
        (400, error("invalid_scope"), Failure(Kind.CONFIGURATION, "invalid_scope", "")),
        (400, error("unsupported_grant_type"), Failure(Kind.CONFIGURATION, "unsupported_grant_type", "")),
        (400, error("unknown_error", "retry"), Failure(Kind.UNAVAILABLE, "unknown_error", "retry")),
        (503, error("temporarily_unavailable"), Failure(Kind.UNAVAILABLE, "temporarily_unavailable", "")),
        (401, b"", Failure(Kind.REFUSED, "http-401", "HTTP 401 without an OAuth error")),
        (404, b"<html>", Failure(Kind.CONFIGURATION, "http-404", "HTTP 404 without an OAuth error")),
        (302, b"", Failure(Kind.CONFIGURATION, "http-302", "HTTP 302 without an OAuth error")),
        (500, b"[]", Failure(Kind.UNAVAILABLE, "http-500", "HTTP 500 without an OAuth error")),
        (429, b"slow down", Failure(Kind.UNAVAILABLE, "http-429", "HTTP 429 without an OAuth error")),
        (200, b"<html>", Failure(Kind.CONFIGURATION, "http-200", "there is no access_token in the answer")),
        (
            200,
            b'{"access_token": 5}',
            Failure(Kind.CONFIGURATION, "http-200", "there is no access_token in the answer"),
        ),
        (200, b"[" * 100_000, Failure(Kind.CONFIGURATION, "http-200", "there is no access_token in the answer")),
    ],
)
def test_an_answer_without_a_token_says_what_to_do(status: int, content: bytes, failure: Failure) -> None:
    assert read_answer(status, content, 0.0) == failure


@pytest.mark.parametrize(
    ("kind", "code", "part"),
    [
        (Kind.REFUSED, "invalid_client", "client_secret"),
        (Kind.CONFIGURATION, "invalid_scope", "scope"),
        (Kind.UNAVAILABLE, "unreachable", "is it running"),
        (Kind.UNAVAILABLE, "proxy-407", "HTTPS_PROXY"),
    ],
)
def test_advice_goes_by_what_failed(kind: Kind, code: str, part: str) -> None:
    assert part in advice(Failure(kind, code, ""))
