"""What was measured, as a table for a terminal, as JSON and as Markdown. Pure, but for printing."""

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.measuring import median
from tests.bench.running import Outcome, Report

HEADINGS = ("case", "messages/s", "limit", "of limit", "wanted", "over naive", "µs CPU", "of limit's", "peak MB")


def say(text: str) -> None:
    Console(stderr=True).print(text, style="dim", highlight=False)


def cells(outcome: Outcome) -> list[str]:
    """Return one row, as texts."""
    connector, limit = median(outcome.connector), median(outcome.limit)
    target = outcome.case.target
    return [
        outcome.case.name,
        _number(connector.rate),
        _number(limit.rate),
        f"{outcome.ratio:.2f}",
        "" if target is None else f"{target:.2f}{'' if outcome.ratio >= target else ' ✗'}",
        f"{outcome.gain:.1f} ×",
        f"{connector.cpu_us:.0f}",
        f"{connector.cpu_us / limit.cpu_us:.1f} ×" if limit.cpu_us else "",
        f"{connector.rss_mb:.0f}",
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def show(report: Report) -> None:
    table = Table(*HEADINGS)
    for column in table.columns[1:]:
        column.justify = "right"
    for outcome in report.outcomes:
        table.add_row(*cells(outcome))
    Console(width=140).print(table)


def as_json(report: Report) -> str:
    found: dict[str, Any] = {"messages": report.messages, "rounds": report.rounds, "seconds": round(report.seconds)}
    return json.dumps(found | {"cases": [_entry(outcome) for outcome in report.outcomes]}, indent=2) + "\n"


def _entry(outcome: Outcome) -> dict[str, Any]:
    middle = median(outcome.connector)
    return {
        "name": outcome.case.name,
        "messages_per_s": middle.rate,
        "ratio_to_limit": outcome.ratio,
        "target": outcome.case.target,
        "ratio_over_naive": outcome.gain,
        "cpu_us_per_message": middle.cpu_us,
        "peak_rss_mb": middle.rss_mb,
        "runs": {
            "connector": [asdict(each) for each in outcome.connector],
            "limit": [asdict(each) for each in outcome.limit],
            "naive": [asdict(each) for each in outcome.naive],
        },
    }


def as_markdown(report: Report) -> str:
    rows = [HEADINGS, ["---", *["---:"] * (len(HEADINGS) - 1)], *map(cells, report.outcomes)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
