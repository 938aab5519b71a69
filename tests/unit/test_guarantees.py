"""Every promise of docs/guarantees.md has a test of the same name."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text()
ROWS = re.findall(r"^\| ([A-Z][^|]+) \| [^|]+ \| `(tests/faults/\w+\.py)`", PAGE, re.MULTILINE)

NAMED = re.findall(r"`(tests/\w+/\w+\.py)(?:::(\w+))?`", PAGE)


def test_every_test_that_the_page_names_is_there() -> None:
    assert sum(bool(name) for _, name in NAMED) >= 8
    for file, name in NAMED:
        text = (ROOT / file).read_text()
        assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), (file, name)


def test_every_promise_about_alarms_names_a_test() -> None:
    section = PAGE.partition("## Alarms")[2].partition("\n## ")[0]
    promises = re.findall(r"^\| ([A-Z][^|]+) \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)
    assert len(promises) >= 8
    assert [promise for promise, tests in promises if "`tests/" not in tests] == []


def test_every_promise_under_faults_has_a_test_of_the_same_name() -> None:
    assert len(ROWS) >= 9
    for promise, file in ROWS:
        name = re.sub(r"\W+", "_", promise.lower())
        assert re.search(rf"^def test_{name}\(", (ROOT / file).read_text(), re.MULTILINE), (promise, file)


def test_every_test_of_a_promise_is_in_the_table() -> None:
    promised = {re.sub(r"\W+", "_", promise.lower()) for promise, _ in ROWS}
    tests = re.findall(r"^def test_(\w+)\(", (ROOT / "tests/faults/test_promises.py").read_text(), re.MULTILINE)
    assert set(tests) <= promised
