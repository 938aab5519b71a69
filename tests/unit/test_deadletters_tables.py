"""Tables as wide as the terminal is."""

from datetime import datetime, timedelta

import pytest

from deadletterqueue.terminal import laid_out, pairs, span

COLUMNS = ("#", "code", "message id", "replays", "what")
ROWS = [("1", "22001", "m-1", "", "value too long for type character varying(10)"), ("10", "no-row", "m-2", "", "")]
HOW = {"right": ("#",), "below": ("what",), "spare": ("message id",)}


def test_a_pipe_gets_everything_and_no_column_that_is_empty() -> None:
    assert laid_out(COLUMNS, ROWS, None, **HOW) == [
        " #  code    message id  what",
        " 1  22001   m-1         value too long for type character varying(10)",
        "10  no-row  m-2",
    ]


def test_the_last_column_is_cut_to_the_room_there_is() -> None:
    assert laid_out(COLUMNS, ROWS, 66, **HOW)[1] == " 1  22001   m-1         value too long for type character varying…"


def test_a_narrow_terminal_has_it_on_a_line_of_its_own() -> None:
    assert laid_out(COLUMNS, ROWS, 40, **HOW) == [
        " #  code",
        " 1  22001",
        "    value too long for type character v…",
        "10  no-row",
    ]


def test_wide_characters_take_two_places() -> None:
    lines = laid_out(("a", "b"), [("日本", "x"), ("abcd", "y")], None)
    assert lines == ["a     b", "日本  x", "abcd  y"]
    assert laid_out(("a",), [("日本日本",)], 6) == ["a", "日本…"]


def test_what_a_message_says_stays_on_its_line() -> None:
    assert laid_out(("a",), [("one\ntwo\x1b[2J",)], None) == ["a", "one\\ntwo\\x1b[2J"]


@pytest.mark.parametrize("width", [66, 120])
def test_one_endless_code_leaves_room_for_the_others(width: int) -> None:
    endless = ("2", "Z" * 1000, "m-3", "", "d" * 1000)
    lines = laid_out(COLUMNS, [*ROWS, endless], width, **HOW)
    assert all(len(line) <= width for line in lines)
    assert any("value too long" in line for line in lines)
    assert sum("d" * 20 in line for line in lines) == 1


def test_the_name_of_a_header_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    pairs({"header a\x1b]0;t\x07\r\n": "v\x9b31m", "body": "1", "none": ""})
    name = "header a\\x1b]0;t\\x07\\r\\n"
    assert capsys.readouterr().out.splitlines() == [f"{name}  v\\u009b31m", f"{'body':<{len(name)}}  1"]


FIRST = datetime(2026, 11, 24, 3, 2, 11).astimezone()


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (None, None, ""),
        (FIRST, FIRST, "2026-11-24 03:02:11"),
        (FIRST, FIRST + timedelta(hours=1), "2026-11-24 03:02:11 – 04:02:11"),
        (FIRST, FIRST + timedelta(days=1), "2026-11-24 03:02:11 – 2026-11-25 03:02:11"),
    ],
)
def test_a_span_names_its_day_once(first: datetime | None, last: datetime | None, text: str) -> None:
    assert span(first, last) == text
