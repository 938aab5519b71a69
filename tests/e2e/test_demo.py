"""scripts/demo, as a newcomer runs it."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_demo_moves_every_row_and_tells_what_became_of_every_alarm_and_of_500_of_one_pump(tmp_path):
    done = subprocess.run([ROOT / "scripts" / "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    weather, _, rest = done.stdout.partition("sfconnector is running")
    cases, _, ringing = rest.partition("a sensor of a pump")
    told = {row[0]: row[1] for row in rows(weather) if row[0]}
    assert told["rows in source"] == told["written"] == "1461"
    assert told["dead-lettered"] == "1"
    assert "not-decodable" in weather
    assert told["source and target"].startswith("the same")
    became = [(row[0], row[3]) for row in rows(cases) if row[0]]
    assert [message for message, _ in became] == ["a-1", "a-2", "a-1", "a-3", "b-1", "b-2", "b-3", "b-4"]
    words = ["Case", "Case", "already there", "reject:", "Case", "already there", "Case", "reject:"]
    assert [end.startswith(word) for (_, end), word in zip(became, words, strict=True)] == [True] * 8
    assert "STRING_TOO_LONG" in cases
    assert "not-found" in cases
    steps = [row[1:4] for row in rows(ringing) if row[1].isdigit()]
    assert steps == [["1", "New", "500"], ["1", "Closed", "500"], ["1", "New", "501"]]
    calls = re.search(r"502 messages, (\d+) API calls", ringing)
    assert calls
    assert int(calls[1]) <= 20


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in a text."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
