"""Words of a page that a browser might break are marked, and nothing else of the page changes."""

import html

import pytest

from connectorlib.service.pages import whole_words


def marked(page: str) -> str:
    return whole_words(page, "[", "]")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("a short text", "a short text"),
        ("at 2026-11-24 03:02", "at [2026-11-24] 03:02"),
        ("reading.plant-7.hall-3\n x", "[reading.plant-7.hall-3]\n x"),
        ("a_name_without_hyphens", "[a_name_without_hyphens]"),
        ("either/or why?not", "[either/or] [why?not]"),
        ("- -5 a- b", "- -5 a- b"),
        ("&#39;devices&#39; &lt;-&gt;", "&#39;devices&#39; [&lt;-&gt;]"),
        ("configuration", "configuration"),
        ("&quot;device&quot;: &quot;p-7&quot;", "&quot;device&quot;: [&quot;p-7&quot;]"),
        ("a & b-c", "a & [b-c]"),
        ('<a href="/a-b?c-d">e-f</a>', '<a href="/a-b?c-d">[e-f]</a>'),
        ("<textarea>\na-b</textarea> a-b", "<textarea>\na-b</textarea> [a-b]"),
        ("<svg><title>a-b</title></svg>a-b", "<svg><title>a-b</title></svg>[a-b]"),
        ("<td>a-b</td><td>" + "x" * 40, "<td>[a-b]</td><td>[" + "x" * 40 + "]"),
    ],
)
def test_long_words_and_those_with_hyphens_are_marked(page: str, expected: str) -> None:
    assert marked(page) == expected


def test_what_a_person_reads_stays_the_same() -> None:
    text = "".join(f"&lt;{'x-&amp;' * at}{' ' * (at % 3)}" for at in range(40))
    assert html.unescape(whole_words(text, "", "")) == html.unescape(text)
