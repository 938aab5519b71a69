"""The fenced blocks of README and docs/, each with what is done about it in the tests.

A comment on the line above the fence says what is special about a block; readers of the page do not see it:

    <!-- not run: installs packages -->    shown, and why nobody runs it here
    <!-- run by: tests/e2e/test_x.py -->   where this is run
    <!-- goes on, ready at: TEXT -->       runs until the end of its page; the text is its sign of life
    <!-- exits with 1 -->                  instead of 0
    <!-- prints -->                        the command before it prints this, at last; … stands for any text

Everything else goes by the language: `sh` and `python` are run, `sql` goes to the page's database, `json` has to be a
good configuration, or a part of one, or a message; a `title` makes a file of it, for what comes after it on the page.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(["README.md", *(str(path.relative_to(ROOT)) for path in DOCS.rglob("*.md"))])

_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]+?) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_MARKS = {
    "not_run": re.compile(r"not run: (.+)"),
    "run_by": re.compile(r"run by: (.+)"),
    "ready": re.compile(r"goes on, ready at: (.+)"),
    "code": re.compile(r"exits with (\d+)"),
    "prints": re.compile(r"(prints)"),
}
#: What the tests run, and what they only read.
RUN = ("sh", "python", "sql")
READ = ("json", "text", "xml", "ini", "yaml")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    title: str
    text: str
    #: Why it is not run; empty if it is.
    not_run: str = ""
    #: The test that runs it; empty if that is the one that follows its page.
    run_by: str = ""
    #: What it says when it works; empty if it comes to an end by itself.
    ready: str = ""
    code: int = 0
    prints: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_followed(self) -> bool:
        """Whether it is for the test that follows its page."""
        return not (self.not_run or self.run_by)


def blocks(page: str) -> list[Block]:
    """Return all blocks of a page; raise AssertionError for a mark that nobody knows."""
    source = (ROOT / page).read_text()
    found = [_block(page, source, match) for match in _FENCE.finditer(source)]
    fences = len(re.findall(r"^ *```", source, re.MULTILINE))
    assert fences == 2 * len(found), f"{page}: {fences} fences, but {len(found)} blocks"
    return found


def _block(page: str, source: str, match: re.Match[str]) -> Block:
    title = re.search(r'title="(.+?)"', match["options"])
    line = source.count("\n", 0, match.start("language")) + 1
    marks = _marks(match["mark"] or "", f"{page}:{line}")
    return Block(
        page,
        line,
        match["language"],
        title[1] if title else "",
        textwrap.dedent(match["text"]),
        not_run=marks.get("not_run", ""),
        run_by=marks.get("run_by", ""),
        ready=marks.get("ready", ""),
        code=int(marks.get("code", 0)),
        prints="prints" in marks,
    )


def _marks(text: str, place: str) -> dict[str, str]:
    known = {name: found[1] for name, each in _MARKS.items() if (found := each.fullmatch(text))}
    assert known or not text, f"{place}: nobody knows the mark {text!r}"
    return known
