"""What a message comes to whose records came to something each, and which records may share a call."""

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.messages import ALREADY, DONE, EMPTY, Again, Dead, Delivery
from connectorlib.pipeline.duplicates import by_first
from sfconnector.mapping import Draft
from sfconnector.records import Item, Unit, message_outcome, settle

LOCKED = Failure(Kind.RETRY, "UNABLE_TO_LOCK_ROW", "locked", "case")
AWAY = Failure(Kind.UNAVAILABLE, "http-503", "maintenance", "salesforce")
TOO_LONG = Failure(Kind.REJECT, "STRING_TOO_LONG", "too long", "case", "case.Subject")
BAD_VALUE = Failure(Kind.REJECT, "bad-value", "no date", "case")
MESSAGE = Delivery(1, 1, "q", "", "q", False, None, b"", 0.0)  # type: ignore[arg-type]  # properties are not looked at


def item(key=None):
    return Item(MESSAGE, None, Draft({}, key))  # type: ignore[arg-type]  # the record is not looked at


def verdict(*outcomes):
    return message_outcome(outcomes)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([DONE], DONE),
        ([ALREADY], ALREADY),
        ([ALREADY, ALREADY], ALREADY),
        ([ALREADY, DONE], DONE),  # something is new
        ([], EMPTY),  # an empty list of records
        ([DONE, Again(LOCKED)], Again(LOCKED)),
        ([Again(LOCKED), Again(AWAY)], Again(LOCKED)),
    ],
)
def test_a_message_is_done_once_all_of_its_records_are(outcomes, expected):
    assert verdict(*outcomes) == expected


def test_one_dead_record_makes_its_message_dead_and_says_which_it_was():
    dead = verdict(DONE, Again(LOCKED), Dead(TOO_LONG), Dead(BAD_VALUE))
    assert isinstance(dead, Dead)
    assert dead.failure.code == "STRING_TOO_LONG"
    assert dead.failure.detail == "record 2 (from 0) of 4, 1 of which are Cases: case.Subject"


def test_a_single_dead_record_is_the_message_itself():
    assert verdict(Dead(TOO_LONG)) == Dead(TOO_LONG)
    assert verdict(DONE, Dead(BAD_VALUE)).failure.detail == "record 1 (from 0) of 2, 1 of which are Cases"


def test_a_message_that_could_not_be_read_has_an_outcome_without_records():
    assert settle(Unit(MESSAGE, outcome=Dead(BAD_VALUE)), {}, None).outcome == Dead(BAD_VALUE)


def test_a_record_without_an_outcome_is_a_bug():
    with pytest.raises(AssertionError, match="without an outcome"):
        verdict(DONE, None)


def test_of_every_key_only_the_first_goes_into_a_call():
    a, b, again, shouted, keyless, other = (item(key=key) for key in ("a", "b", "a", "A", None, None))
    firsts, later = by_first([a, b, again, shouted, keyless, other], lambda each: each.key)
    assert firsts == [a, b, keyless, other]
    assert later == [(again, a), (shouted, a)]
