"""A message that the troubleshooting page explains is one that the programs print."""

import ast
import re

import pytest

from dbconnector.dialects import known, sqlstate
from tests.pages import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
ROWS = re.findall(r"^\| `(.+?)` \| (.+) \|$", PAGE, re.MULTILINE)


def texts():
    """Return all texts in the packages, those that are put together of several joined."""
    for package in ("connectorlib", "dbconnector", "deadletterqueue", "sfconnector"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


TEXTS = "\n".join(texts())
#: Said by drivers; the connector knows these words too.
QUOTED = "\n".join(
    pattern
    for source in known()
    for pattern, _ in (*source.connect_texts, *source.texts, *sqlstate.CONNECT_TEXTS, *sqlstate.TEXTS)
)


def test_there_are_messages():
    assert len(ROWS) > 45


@pytest.mark.parametrize("message", [message for message, _ in ROWS])
def test_a_message_that_is_explained_is_in_a_program(message):
    assert message in TEXTS or message in QUOTED


def test_every_code_of_a_dead_letter_that_is_told_to_the_sender_is_explained():
    codes = set()
    for package in ("connectorlib", "dbconnector", "deadletterqueue", "sfconnector"):
        for file in (ROOT / package).rglob("*.py"):
            codes |= set(re.findall(r'\breject\(\s*"([a-z-]+)"', file.read_text()))
    assert "missing-field" in codes
    assert codes - {"not-encodable"} <= {message for message, _ in ROWS}  # that one is of select, for a row
