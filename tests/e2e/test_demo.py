"""scripts/demo, as a newcomer runs it."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_demo_moves_every_row_and_names_why_the_broken_message_died(tmp_path):
    done = subprocess.run([ROOT / "scripts" / "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in done.stdout.splitlines() if "│" in line]
    told = {name: value for name, value in rows if name}
    assert told["rows in source"] == told["written"] == "1461"
    assert told["dead-lettered"] == "1"
    assert "not-decodable" in done.stdout
    assert told["source and target"].startswith("the same")
