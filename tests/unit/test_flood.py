"""When refusals are a flood: a table of what a target has answered, and the brake that lanes share."""

from itertools import count

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.pipeline.flood import Brake

#: One answer each: how often, `pass` or a code, the keys of the messages in turn.
Answers = list[tuple[int, str, str]]
#: With a limit of 10: what was answered, and with which answer the flood began (from 1; 0: there is none).
FLOODS: dict[str, tuple[Answers, int]] = {
    "ten alike in a row": ([(30, "23502", "abc")], 10),
    "nine are not enough": ([(9, "23502", "abc")], 0),
    "one that passed shows that it is not them all": (
        [(9, "23502", "abc"), (1, "pass", "a"), (9, "23502", "abc")],
        0,
    ),
    "ten after the last that passed": ([(9, "23502", "abc"), (1, "pass", "a"), (10, "23502", "abc")], 20),
    "of two keys only": ([(50, "23502", "ab")], 0),
    "as soon as there is a third key": ([(20, "23502", "ab"), (1, "23502", "c")], 21),
    "a few others between": ([(5, "23502", "abc"), (2, "22001", "abc"), (5, "23502", "abc")], 12),
    "as many others as alike": ([(1, "23502", "a"), (1, "22001", "b"), (1, "23514", "c")] * 20, 0),
    "two codes, one of them rarely": ([(6, "23502", "abc"), (1, "22001", "a")] * 3, 11),
}


def delivery(tags: "count[int]", key: str | None, routing_key: str = "q") -> Delivery:
    made = Delivery(next(tags), 1, "q", "", routing_key, False, None, b"", 0.0)  # type: ignore[arg-type]  # unused
    made.key = key
    return made


def refusal(code: str = "23502", place: str = "write[0]") -> Failure:
    return Failure(Kind.REJECT, code, "a text", place)


def began(brake: Brake, answers: Answers, *, by_routing_key: bool) -> int:
    """Return with which answer the first flood began."""
    tags = count(1)
    for times, answer, keys in answers:
        for number in range(times):
            key = keys[number % len(keys)]
            each = delivery(tags, None, key) if by_routing_key else delivery(tags, key)
            if answer == "pass":
                brake.passed(["write[0]"], [each])
            elif brake.refused(each, refusal(answer)):
                return each.tag
    return 0


@pytest.mark.parametrize("by_routing_key", [False, True], ids=["keys", "routing keys"])
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood(name: str, by_routing_key: bool) -> None:
    answers, begins = FLOODS[name]
    assert began(Brake(10), answers, by_routing_key=by_routing_key) == begins


def test_with_one_routing_key_and_no_other_keys_do_not_count() -> None:
    assert began(Brake(10), [(10, "23502", "a")], by_routing_key=True) == 10


def test_that_others_have_another_routing_key_is_remembered() -> None:
    answers = [(1, "pass", "b"), (1, "pass", "a"), (50, "23502", "a")]
    assert began(Brake(10), answers, by_routing_key=True) == 0


def test_zero_switches_it_off() -> None:
    assert began(Brake(0), [(1000, "23502", "abc")], by_routing_key=False) == 0


def test_a_small_limit_waits_for_three_keys_too() -> None:
    assert began(Brake(1), [(9, "23502", "abc")], by_routing_key=False) == 3


@pytest.mark.parametrize("limit", [10, 100])
def test_what_is_alike_is_found_in_a_fifth_more_than_the_limit(limit: int) -> None:
    others = limit // 5
    answers = [(limit - 1, "23502", "abc"), (others, "22001", "abc"), (1, "23502", "a")]
    assert began(Brake(limit), answers, by_routing_key=False) == limit + others
    answers[1] = (others + 1, "22001", "abc")
    assert began(Brake(limit), answers, by_routing_key=False) == 0


#: A call, letter by letter: `g`, which is sent, and `r`, which is refused before; `y` and `z` are refused likewise for
#: other reasons. With a limit of 3: the parts that are sent, and in brackets what a flood leaves; where what is sent
#: passes, and where it does not.
CALLS = [
    ("", "", ""),
    ("ggg", "ggg", "ggg"),
    ("rrg", "rrg", "rrg"),
    ("rrr", "rr (r)", "rr (r)"),
    ("rrrgrrr", "rr (rgrrr)", "rr (rgrrr)"),
    ("rgrr", "rgr r", "rgr (r)"),
    ("rgrrrr", "rgr rr (r)", "rgr (rrr)"),
    ("grrrrgrrr", "grr rrg rr (r)", "grr (rrgrrr)"),
    ("yzyzrg", "yzyzrg", "yzyzrg"),
]


@pytest.mark.parametrize(("call", "passes", "parts"), [(c, p, e[not p]) for c, *e in CALLS for p in (True, False)])
def test_what_is_refused_before_it_is_sent_counts_unless_what_was_sent_before_it_passes(
    call: str, parts: str, *, passes: bool
) -> None:
    brake, tags = Brake(3), count(1)
    deliveries = [delivery(tags, None) for _ in call]
    refusals = [None if each == "g" else refusal(each) for each in call]
    found: list[str] = []
    for part, flood in brake.parts(deliveries, refusals):
        letters = call[part.start : part.stop]
        found.append(f"({letters})" if flood else letters)
        assert flood in (None, Failure(Kind.FLOOD, "r", "a text", "write[0]", same=3))
        if passes and "g" in letters:
            brake.passed(["write[0]"], [])
    assert " ".join(found) == parts


class Target:
    """A brake with a flood of ten at `write[0]`."""

    def __init__(self) -> None:
        self.brake = Brake(10)
        self.tags = count(1)
        self.last: Failure | None = None
        for key in "abcabcabca":
            self.refuse(key)

    def refuse(self, key: str = "a", code: str = "23502", place: str = "write[0]") -> Failure | None:
        self.last = self.brake.refused(delivery(self.tags, key), refusal(code, place))
        return self.last


def test_a_flood_says_how_many_were_alike_and_counts_on() -> None:
    target = Target()
    assert target.last == Failure(Kind.FLOOD, "23502", "a text", "write[0]", same=10)
    again = target.refuse()
    assert again is not None
    assert again.same == 11


def test_a_message_that_is_tried_again_counts_once() -> None:
    brake = Brake(10)
    same = [delivery(count(7), key) for key in "abc"]
    assert not any(brake.refused(each, refusal()) for each in same * 20)


def test_in_a_flood_another_code_or_place_is_a_message_of_its_own() -> None:
    target = Target()
    assert target.refuse(code="22001") is None
    assert target.refuse(place="write[1]") is None
    assert target.refuse() is not None


def test_what_passes_ends_the_flood_of_its_place_only() -> None:
    target = Target()
    target.brake.passed(["write[1]", "commit"], [delivery(target.tags, "b")])
    assert target.refuse() is not None
    target.brake.passed(["write[0]"], [delivery(target.tags, "b")])
    assert target.refuse() is None


#: What two lanes see, with a limit of 10: `r`, so many refusals; `p`, a message passes in a transaction; `c`, which is
#: committed; and with which refusal the flood began (from 1; 0: there is none).
LANES = [
    ("a:r5 b:r5", 10),
    ("a:r5 b:p b:r5", 10),
    ("a:r5 b:p b:c b:r5 a:r4", 0),
    ("a:r5 a:p a:r5 b:r4", 0),
    ("a:r5 b:r4 b:p a:r5", 14),
]


@pytest.mark.parametrize(("story", "begins"), LANES)
def test_what_is_not_committed_counts_only_for_the_lane_that_wrote_it(story: str, begins: int) -> None:
    brake, tags, found = Brake(10), count(1), []
    for lane, _, what in (each.partition(":") for each in story.split()):
        for _ in range(int(what[1:] or 1)):
            if what[0] == "r":
                tag = next(tags)
                found += [tag] if brake.refused(delivery(count(tag), "abc"[tag % 3]), refusal(), lane) else []
            else:
                brake.passed(["write[0]"], [], lane if what[0] == "p" else None)
    assert (found or [0])[0] == begins
