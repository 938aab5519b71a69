"""The benchmark itself, as small as it gets. How fast anything is, is not asked here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_one_case_is_measured_beside_its_limit_and_its_naive_twin(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    arguments = ["--quick", "--only", "JSON → SQLite$", "--messages", "5000", "--rounds", "1", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "subscribe, JSON → SQLite" in done.stdout
    (case,) = json.loads(file.read_text())["cases"]
    assert case["ratio_to_limit"] > 0
    assert case["ratio_over_naive"] > 0
    assert case["cpu_us_per_message"] > 0
    assert case["peak_rss_mb"] > 10
    assert {name: len(runs) for name, runs in case["runs"].items()} == {"connector": 1, "limit": 1, "naive": 1}
