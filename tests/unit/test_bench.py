"""The benchmark's own arithmetic: medians, ratios, what the table says of them."""

import json

import pytest

from tests.bench import load, outbox, table
from tests.bench.cases import CASES, Case
from tests.bench.contenders import Selecting, Subscribing
from tests.bench.load import Bad
from tests.bench.measuring import Measured, Processes, median
from tests.bench.running import Outcome, Report

FAST, SLOW = Measured(900, 50, 40), Measured(300, 150, 60)
CASE = Case("JSON", Subscribing("connector"), Subscribing("limit"), Subscribing("naive"), target=0.8)


def outcome(case: Case, rate: float, limit: float = 1000, other: float | None = 10) -> Outcome:
    others = [Measured(other, 500, 30)] if other else []
    return Outcome(case, [Measured(rate, 60, 50)], [Measured(limit, 40, 45)], others)


def report(*outcomes: Outcome) -> Report:
    return Report(60_000, 3, 120, {"Python": "3.11"}, outcomes)


def test_the_middle_of_the_rounds_is_shown_and_the_most_memory_of_all():
    assert median([FAST, SLOW, Measured(500, 40, 20)]) == Measured(500, 50, 60)


def test_a_run_is_measured_until_few_are_left_which_is_asked_as_seldom_as_possible(tmp_path):
    last, left = [False, False, True, True], [100, 11, 10]
    with Processes([["sleep", "60"]], tmp_path / "log") as processes:
        processes.timed(lambda: True, lambda: last.pop(0), lambda: left.pop(0), few=10, every=0)
    assert (last, left) == ([], [])


def test_a_run_that_is_over_before_it_is_seen_to_begin_is_no_measurement(tmp_path):
    with (
        Processes([["sleep", "60"]], tmp_path / "log") as processes,
        pytest.raises(RuntimeError, match="needs more --messages"),
    ):
        processes.timed(lambda: True, lambda: True, lambda: 10, few=10)


@pytest.mark.parametrize(("rate", "holds"), [(800, True), (799, False)])
def test_a_case_holds_from_its_ratio_to_the_limit_on(rate, holds):
    found = outcome(CASE, rate)
    assert found.ratio == rate / 1000
    assert found.gain == rate / 10
    assert found.holds is holds


@pytest.mark.parametrize(("rate", "holds"), [(18, True), (17, False)])
def test_a_case_that_is_measured_against_another_holds_from_its_gain_on(rate, holds):
    assert outcome(Case("two", CASE.connector, CASE.limit, CASE.other, gain=1.8), rate).holds is holds


def test_a_row_of_the_table_says_what_was_wanted_and_that_it_was_missed():
    assert table.cells(outcome(CASE, 750)) == [
        *["JSON", "750", "1,000", "messages/s", "0.75", "75.0 ×", "0.80 ✗", "60", "1.5 ×", "50"]
    ]


def test_what_takes_a_time_is_told_as_one_and_has_no_naive_twin():
    start = Case("--help", CASE.connector, CASE.limit, None, unit="ms")
    assert table.cells(outcome(start, 10, 20, None))[1:7] == ["100", "50.0", "ms", "0.50", "", ""]


def test_the_json_has_the_ratios_and_every_run():
    (found,) = json.loads(table.as_json(report(outcome(CASE, 750))))["cases"]
    assert (found["ratio_to_limit"], found["ratio_over_naive"], found["cpu_us_per_message"]) == (0.75, 75, 60)
    assert found["runs"]["limit"] == [{"rate": 1000, "cpu_us": 40, "rss_mb": 45}]


def test_the_results_replace_those_between_the_marks_and_nothing_else():
    results = table.as_markdown(report(outcome(CASE, 750)))
    page = f"# Benchmarks\n\n{table.BEGIN}\nold\n{table.END}\n\n## Where we lose\n"
    new = table.put_into(page, results)
    assert new == f"# Benchmarks\n\n{table.BEGIN}\n{results}{table.END}\n\n## Where we lose\n"
    assert table.put_into(new, results) == new
    assert table.put_into("no marks", results) == results


def test_every_case_has_a_name_of_its_own_and_one_limit_stands_together():
    assert len({case.name for case in CASES}) == len(CASES)
    limits = [case.limit for case in CASES]
    ends = [one for one, following in zip(limits, [*limits[1:], None], strict=True) if one != following]
    assert len(ends) == len(set(limits))


def test_bad_messages_are_as_many_as_said_and_spread():
    bad = Bad("undecodable", 100)
    bodies = list(load.ONE.bodies(1000, "json", bad))
    assert bad.good(1000) == 990
    assert [number for number, body in enumerate(bodies) if not body.endswith(b"}")] == list(range(50, 1000, 100))


def test_a_refused_one_is_too_long_for_its_column_and_still_a_message():
    (body,) = list(load.ONE.bodies(1, "json", Bad("refused", 1)))
    assert len(json.loads(body)["device"]) > 40


@pytest.mark.parametrize("format", load.ENCODE)
def test_the_loop_by_hand_reads_of_every_format_what_was_put_in(format):
    from tests.bench.by_hand import DECODE  # late: it imports drivers

    columns = load.MEASURED.names
    (body,) = load.ONE.bodies(1, format)
    assert [str(value) for value in DECODE[format]([body], columns)] == [str(load.narrow(0)[name]) for name in columns]


def test_the_ready_body_of_a_row_is_json():
    assert json.loads(outbox.body(7))["id"] == 7
    assert Selecting("limit") == Selecting("limit", "postgresql")
