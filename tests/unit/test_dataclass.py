"""`connectorlib.dataclass` makes the classes that the standard library makes."""

import copy
import dataclasses
import pickle
import sys
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from typing import Any

import pytest

from connectorlib import dataclass as ours

OPTIONS = [
    {"frozen": True, "slots": True},
    {"frozen": True},
    {"slots": True},
    {"slots": True, "eq": False},
    {"frozen": True, "slots": True, "eq": False},
    {"frozen": True, "slots": True, "kw_only": True},
]


def classes(make, options):
    """Return the same two classes, made by the one or the other `dataclass`."""

    @make(**options)
    class Point:
        x: int
        y: float = 0.0
        words: list[str] = field(default_factory=list)
        secret: str = field(default="", repr=False, compare=False)
        made: int = field(default=7, init=False)

    @make(**options)
    class Named(Point):
        """A point with a name."""

        name: str = "origin"

    return Point, Named


@pytest.fixture(params=OPTIONS, ids=str)
def pair(request):
    return classes(dataclasses.dataclass, request.param), classes(ours.dataclass, request.param)


CALLS = [
    ((), {"x": 1}),
    ((), {"x": 1, "y": 2.5, "words": ["a"], "secret": "s"}),
    ((1, 2.5), {}),
    ((1, 2.5, ["a"], "s"), {}),
    ((), {}),
    ((), {"x": 1, "z": 2}),
    ((), {"x": 1, "made": 2}),
]


def outcome(run):
    """Return what a call results in, as text: objects of two classes are not equal."""
    try:
        return repr(run())
    except (TypeError, FrozenInstanceError) as error:
        return f"{type(error).__name__} {error}"


@pytest.mark.parametrize(("given", "named"), CALLS, ids=str)
def test_a_call_makes_the_same_instance_or_the_same_error(pair, given, named):
    for theirs, mine in zip(*pair, strict=True):
        assert outcome(lambda each=mine: each(*given, **named)) == outcome(lambda each=theirs: each(*given, **named))


def test_instances_are_compared_hashed_and_changed_alike(pair):
    theirs, mine = (named for _, named in pair)
    told = []
    for each in (theirs, mine):
        one, same, other = (each(x=x, secret=secret) for x, secret in [(1, "a"), (1, "b"), (2, "a")])
        told.append(
            [
                one == same,
                one == other,
                one == 1,
                each(x=float("nan")) == each(x=float("nan")),
                outcome(lambda each=each, one=one: hash(one) == hash(each(x=1)) if each.__hash__ else None),
                outcome(lambda one=one: hash(replace(one, words=())) == hash(replace(one, words=()))),
                outcome(lambda one=one: setattr(one, "x", 5)),
                outcome(lambda one=one: replace(one, x=9)),
                outcome(lambda one=one: delattr(one, "y")),
                asdict(other),
                each.__match_args__,
                [(of.name, of.init, of.kw_only) for of in fields(each)],
                hasattr(other, "__dict__"),
            ]
        )
    assert told[0] == told[1]


def test_lists_of_instances_are_their_own(pair):
    for each in pair[1]:
        assert each(x=1).words is not each(x=2).words


@ours.dataclass(frozen=True, slots=True)
class Kept:
    number: int
    parts: list[int]


def test_an_instance_can_be_copied():
    kept = Kept(1, [2])
    for each in (copy.copy(kept), copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):  # noqa: S301 - our own
        assert each == kept


def test_what_is_set_after_the_init_is_left_out_of_it():
    @ours.dataclass(slots=True)
    class Later:
        parts: list[int] = field(init=False)
        total: int = 0

        def __post_init__(self) -> None:
            self.parts = [self.total]

    assert (Later(3).parts, Later().total) == ([3], 0)


def test_a_function_of_the_class_itself_is_kept():
    @ours.dataclass(frozen=True, slots=True)
    class Shown:
        text: str

        def __repr__(self) -> str:
            return "shown"

    assert repr(Shown("x")) == "shown"


def test_nothing_is_compiled_before_the_first_instance():
    compiled = []
    sys.addaudithook(lambda event, arguments: compiled.append(event) if event == "compile" else None)

    @ours.dataclass(frozen=True, slots=True)
    class Point:
        x: int

    assert compiled == []
    Point(1)
    Point(2)
    assert compiled == ["compile"]


@pytest.mark.parametrize("changes", [{}, {"y": 1.5}, {"x": 2, "words": ["b"], "name": "n"}, {"z": 1}], ids=str)
def test_a_copy_with_other_values_is_that_of_the_standard_library(pair, changes):
    copies: list[Any] = []
    for made, copied in zip(pair, (replace, ours.replace), strict=True):
        original = made[1](x=1, words=["a"], name="home")
        try:
            copy = copied(original, **changes)
        except TypeError:
            copies.append(None)
            continue
        assert type(copy) is made[1]
        copies.append((asdict(copy), "words" in changes or copy.words is original.words))
    assert copies[0] == copies[1]
