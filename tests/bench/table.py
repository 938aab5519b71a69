"""What was measured, as a table for a terminal, as JSON and as Markdown. Pure, but for printing."""

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.measuring import median
from tests.bench.running import Outcome, Report

HEADINGS = ("case", "connector", "limit", "unit", "of limit", "over naive", "wanted", "CPU µs", "of limit's", "peak MB")

#: Between these the results stand in docs/benchmarks.md.
BEGIN, END = "<!-- results of python -m tests.bench -->", "<!-- end of results -->"


def say(text: str) -> None:
    Console(stderr=True).print(text, style="dim", highlight=False)


def cells(outcome: Outcome) -> list[str]:
    """Return one row, as texts."""
    case, connector, limit = outcome.case, median(outcome.connector), median(outcome.limit)
    return [
        case.name,
        figure(connector.rate, case.unit),
        figure(limit.rate, case.unit) + (f" ({case.bound:,.0f})" if case.bound else ""),
        case.unit,
        f"{outcome.ratio:.2f}",
        _gain(outcome),
        _wanted(outcome),
        f"{connector.cpu_us:,.0f}",
        f"{connector.cpu_us / limit.cpu_us:.1f} ×" if limit.cpu_us else "",
        f"{connector.rss_mb:.0f}",
    ]


def figure(rate: float, unit: str) -> str:
    """Return a speed as text; as a time, where the unit is one."""
    value = 1000 / rate if unit == "ms" else rate
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _gain(outcome: Outcome) -> str:
    if outcome.gain is None:
        return ""
    beside = outcome.case.beside
    return f"{outcome.gain:.1f} ×" if beside == "naive" else f"{outcome.gain:.2f} × {beside}"


def _wanted(outcome: Outcome) -> str:
    case = outcome.case
    wanted = [f"{case.target:.2f}"] if case.target else []
    wanted += [f"{case.gain:.2f} ×"] if case.gain else []
    return " ".join([*wanted, *([] if outcome.holds else ["✗"])])


def show(report: Report) -> None:
    table = Table(*HEADINGS)
    for column in table.columns[1:]:
        column.justify = "right"
    for outcome in report.outcomes:
        table.add_row(*cells(outcome))
    Console(width=150).print(table)


def as_json(report: Report) -> str:
    found: dict[str, Any] = {
        "machine": dict(report.machine),
        "messages": report.messages,
        "rounds": report.rounds,
        "seconds": round(report.seconds),
    }
    return json.dumps(found | {"cases": [_entry(outcome) for outcome in report.outcomes]}, indent=2) + "\n"


def _entry(outcome: Outcome) -> dict[str, Any]:
    middle = median(outcome.connector)
    return {
        "name": outcome.case.name,
        "per_s": middle.rate,
        "ratio_to_limit": outcome.ratio,
        "latency_allows": outcome.case.bound,
        "wanted_ratio": outcome.case.target,
        f"ratio_over_{outcome.case.beside.replace(' ', '_')}": outcome.gain,
        "wanted_gain": outcome.case.gain,
        "cpu_us_per_message": middle.cpu_us,
        "peak_rss_mb": middle.rss_mb,
        "runs": {
            "connector": [asdict(each) for each in outcome.connector],
            "limit": [asdict(each) for each in outcome.limit],
            outcome.case.beside: [asdict(each) for each in outcome.other],
        },
    }


def as_markdown(report: Report) -> str:
    """Return the machine and the table."""
    on = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    how = f"{report.messages:,} messages, median of {report.rounds} rounds, {report.seconds / 60:.0f} minutes in all."
    rows = [HEADINGS, ["---", *["---:"] * (len(HEADINGS) - 1)], *map(cells, report.outcomes)]
    return f"{how} On: {on}.\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def put_into(text: str, results: str) -> str:
    """Return a Markdown text with the results between its two marks; without marks, the results alone."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{results}{end}{after}" if end else results
