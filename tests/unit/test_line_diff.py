"""What a change does to a text, and how long that may take to find out."""

from difflib import unified_diff

from connectorlib.values.line_diff import differences

NAMES = ("was", "is")


def test_a_short_text_is_compared_line_by_line() -> None:
    before, after = ["a", "b", "c", "d", "e"], ["a", "B", "c", "D", "e"]
    lines = list(differences(before, after, NAMES))
    assert lines == list(unified_diff(before, after, *NAMES, lineterm=""))
    assert " c" in lines


def test_of_a_long_text_everything_between_the_changes_is_told() -> None:
    rest = [str(number) for number in range(5000)]
    before, after = ["a", *rest, "b", "c", *rest], ["a", *rest, "B", "c", "C", *rest]
    assert list(differences(before, after, NAMES)) == [
        "--- was",
        "+++ is",
        "@@ -5002,2 +5002,3 @@",
        *["-b", "-c", "+B", "+c", "+C"],
    ]
    assert not list(differences(before, before, NAMES))
    assert list(differences(rest, [*rest, "1"], NAMES))[2:] == ["@@ -5001,0 +5001,1 @@", "+1"]


def test_difflib_never_sees_what_would_take_it_hours() -> None:
    few = [str(number % 110) for number in range(200_000)]
    assert len(list(differences(few, few[::-1], NAMES))) == 3 + 2 * len(few)
