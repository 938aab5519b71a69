"""What one change would do to many dead letters: the result of a dry run, to be confirmed. Pure."""

from collections.abc import Sequence
from itertools import islice

from connectorlib.dataclass import dataclass
from connectorlib.values.line_diff import differences
from deadletterqueue.edit_command import as_lines
from deadletterqueue.letter import Letter
from deadletterqueue.plain_letter import plain_letter
from deadletterqueue.replay import Change, Report
from deadletterqueue.target import Leave
from deadletterqueue.web.message_form import ChangeTexts

#: Letters whose change is shown, and of each so many lines with so many characters.
EXAMPLES, MAX_LINES, MAX_LINE = 3, 40, 300
#: Reasons why letters stay that are shown, the most frequent first.
MAX_REASONS = 10
_KINDS = {"+": "added", "-": "removed", "@": "place"}

#: The lines of a diff, each with its kind.
Diff = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Preview:
    """How many letters would be sent changed and to where, how many would stay and why, and the first changes."""

    #: The fields of a form that say which letters it is about, as the person saw them.
    fields: tuple[tuple[str, str], ...]
    texts: ChangeTexts
    total: int
    going: tuple[tuple[int, str], ...]
    staying: tuple[tuple[int, str], ...]
    #: Message ids with their changes.
    examples: tuple[tuple[str, Diff], ...]


class Examples:
    """A change that keeps what it does to the first few letters."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self.found: list[tuple[str, Diff]] = []

    def __call__(self, letter: Letter) -> Letter | Leave:
        new = self._change(letter)
        if not isinstance(new, Leave) and len(self.found) < EXAMPLES:
            before, after = (as_lines(plain_letter(each)) for each in (letter, new))
            lines = [(kind, _cut(line)) for kind, line in islice(diff(before, after), MAX_LINES + 1)]
            if len(lines) > MAX_LINES:
                lines[MAX_LINES:] = [("place", "…")]
            self.found.append((letter.message_id, lines))
        return new


def diff(before: Sequence[str], after: Sequence[str]) -> Diff:
    """Return the lines that differ, with those around them; none if nothing does."""
    lines = list(differences(before, after, ("in the queue", "changed")))[2:]
    marked = [(_KINDS.get(line[:1], "same"), line) for line in lines]
    return [(kind, _cut(line) if kind == "same" else line) for kind, line in marked]


def staying(report: Report, asked: int) -> tuple[tuple[int, str], ...]:
    """Return how many of `asked` letters would stay, for each of the most frequent reasons."""
    reasons = [(count, f"stay: {reason}") for reason, count in report.left.most_common()]
    if (others := sum(count for count, _ in reasons[MAX_REASONS:])) > 0:
        reasons[MAX_REASONS:] = [(others, "stay for other reasons")]
    if (gone := asked - report.chosen) > 0:
        reasons.append((gone, "no longer in the queue"))
    return tuple(reasons)


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + "…"
