"""When somebody is told what: timelines of what is seen, and the notices that come of them."""

from email import message_from_bytes, policy

import pytest

from connectorlib.monitoring.notice_channels import letter
from connectorlib.monitoring.notices import Notice, NoticeBoard, Paused, Sighting
from connectorlib.shared_settings import Mail

DOWN = Paused("readings", 100.0, "08001", "connection refused", "start the database")
SLOW = Paused("readings", 100.0, "55P03", "lock timeout", "find the lock")
DOORS = Paused("doors", 150.0, "401", "login refused", "correct the login")


def seen(*paused: Paused, **dead: dict[str, int]) -> Sighting:
    return Sighting(paused, dead)


def told(*timeline: tuple[float, Sighting]) -> list[tuple[float, str, str]]:
    board = NoticeBoard("dbconnector", "db.config", after=60.0, every=900.0)
    found: list[tuple[float, Notice]] = []
    for now, sighting in timeline:
        found += [(now, notice) for notice in board.notices(sighting, now)]
    return [(now, notice.event, notice.text) for now, notice in found]


SAID = "dbconnector readings: paused for 1 min: 08001 connection refused: start the database"
LOOK = "see `deadletter-queue group -c db.config`"
TIMELINES = {
    "A short pause is not told, nor is its end": ([(100, seen(DOWN)), (159, seen(DOWN)), (159.5, seen())], []),
    "A long one is told once, then its end": (
        [(100, seen(DOWN)), (160, seen(DOWN)), (161, seen(DOWN)), (7000, seen(DOWN)), (7300, seen()), (7301, seen())],
        [(160, "paused", SAID), (7300, "resumed", "dbconnector readings: resumed after 2 h")],
    ),
    "Another cause is the same pause": ([(160, seen(DOWN)), (170, seen(SLOW))], [(160, "paused", SAID)]),
    "Each division has a pause of its own": (
        [(160, seen(DOWN, DOORS)), (210, seen(DOWN, DOORS)), (220, seen(DOORS))],
        [
            (160, "paused", SAID),
            (210, "paused", "dbconnector doors: paused for 1 min: 401 login refused: correct the login"),
            (220, "resumed", "dbconnector readings: resumed after 2 min"),
        ],
    ),
    "A pause that comes again is told again": (
        [(160, seen(DOWN)), (170, seen()), (400, seen(Paused("readings", 300.0, "08001", "refused", "start it")))],
        [
            (160, "paused", SAID),
            (170, "resumed", "dbconnector readings: resumed after 1 min 10 s"),
            (400, "paused", "dbconnector readings: paused for 1 min 40 s: 08001 refused: start it"),
        ],
    ),
    "Dead letters are collected, then told at most once in `every`": (
        [
            (10, seen(readings={"22001": 1})),
            (15, seen(readings={"22001": 9})),
            (20, seen(readings={"22001": 11, "no-key": 1})),
            (30, seen(readings={"22001": 12, "no-key": 1})),
            (919, seen(readings={"22001": 20, "no-key": 1})),
            (920, seen(readings={"22001": 20, "no-key": 1})),
            (2000, seen(readings={"22001": 20, "no-key": 1})),
        ],
        [
            (20, "dead-letters", f"dbconnector readings: 12 messages dead-lettered: 22001 × 11, no-key × 1: {LOOK}"),
            (920, "dead-letters", f"dbconnector readings: 9 messages dead-lettered: 22001 × 9: {LOOK}"),
        ],
    ),
    "One dead letter is a notice too; each flow has its own": (
        [(0, seen(a={}, b={"x": 1})), (10, seen(a={"y": 1}, b={"x": 1})), (20, seen(a={"y": 1}, b={"x": 1}))],
        [
            (10, "dead-letters", f"dbconnector b: 1 message dead-lettered: x × 1: {LOOK}"),
            (20, "dead-letters", f"dbconnector a: 1 message dead-lettered: y × 1: {LOOK}"),
        ],
    ),
    "Of many codes the most frequent are named": (
        [(0, seen(a={f"c{n}": n for n in range(1, 8)})), (10, seen(a={f"c{n}": n for n in range(1, 8)}))],
        [
            (
                10,
                "dead-letters",
                "dbconnector a: 28 messages dead-lettered: c7 × 7, c6 × 6, c5 × 5, c4 × 4, c3 × 3 and 2 other codes: "
                + LOOK,
            )
        ],
    ),
}


@pytest.mark.parametrize(("timeline", "expected"), TIMELINES.values(), ids=TIMELINES)
def test_what_is_told_when(timeline, expected):
    assert told(*timeline) == expected


def test_dead_letters_are_not_collected_for_longer_than_every():
    board = NoticeBoard("dbconnector", "db.config", after=60.0, every=2.0)
    looks = [board.notices(seen(a={"x": count}), now) for now, count in enumerate((1, 2, 3, 3, 4, 5))]
    assert [notice.fields["codes"] for look in looks for notice in look] == [{"x": 3}]
    assert [len(look) for look in looks] == [0, 0, 1, 0, 0, 0]


def test_a_pause_that_was_told_has_an_end_when_the_process_ends_and_one_that_was_not_has_none():
    board = NoticeBoard("dbconnector", "db.config", after=60.0, every=900.0)
    board.notices(seen(DOWN, DOORS), 160)
    assert [each.text for each in board.farewell(220, "stopped")] == [
        "dbconnector readings: stopped while paused for 2 min"
    ]
    assert board.farewell(230, "stopped") == []


def test_a_mail_is_one_line_then_the_fields_whatever_a_text_holds():
    settings = Mail("mx", "connector@plant.example", ("a@example.com", "b@example.com"))
    text = "dbconnector readings: paused: Überlauf\nBcc: all@example.com"
    raw = letter(settings, {"text": text, "event": "paused", "codes": {"22001": 2}}).as_bytes(policy=policy.SMTP)
    made = message_from_bytes(raw, policy=policy.default)
    assert made["Subject"] == "dbconnector readings: paused: Überlauf Bcc: all@example.com"
    assert (made["To"], made["Bcc"], made["Auto-Submitted"]) == ("a@example.com, b@example.com", None, "auto-generated")
    lines = made.get_content().splitlines()
    assert lines[-2:] == ["event: paused", 'codes: {"22001": 2}']
