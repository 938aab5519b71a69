"""Every promise of docs/guarantees.md has a test of the same name."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text()
ROWS = re.findall(r"^\| ([A-Z][^|]+) \| [^|]+ \| `(tests/faults/\w+\.py)`", PAGE, re.MULTILINE)


def test_every_promise_under_faults_has_a_test_of_the_same_name() -> None:
    assert len(ROWS) >= 9
    for promise, file in ROWS:
        name = re.sub(r"\W+", "_", promise.lower())
        assert re.search(rf"^def test_{name}\(", (ROOT / file).read_text(), re.MULTILINE), (promise, file)


def test_every_test_of_a_promise_is_in_the_table() -> None:
    promised = {re.sub(r"\W+", "_", promise.lower()) for promise, _ in ROWS}
    tests = re.findall(r"^def test_(\w+)\(", (ROOT / "tests/faults/test_promises.py").read_text(), re.MULTILINE)
    assert set(tests) <= promised
