"""What came of a piece of work, for a person. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from deadletterqueue.replay import Report


@dataclass(frozen=True, slots=True)
class Outcome:
    title: str
    #: How many, and what became of them.
    lines: tuple[tuple[int, str], ...] = ()
    #: Message ids of those that may lie in two places.
    in_doubt: tuple[str, ...] = ()
    #: Why it ended before all was done.
    failure: str = ""
    #: Where to go on, when nothing more has to be said: a path.
    onward: str = ""


def replayed(report: Report, asked: int, failure: str) -> Outcome:
    """Given what a replay of so many did, tell it."""
    lines = [(count, f"sent to {target}") for target, count in report.sent.most_common()]
    lines += [(count, f"left: {reason}") for reason, count in report.left.most_common()]
    if report.stopped:
        failure = "It was stopped early."
    elif (gone := asked - report.meant) > 0 and not failure:
        lines.append((gone, "no longer in the queue"))
    doubt: Iterable[str] = (each.properties.message_id or "(without a message id)" for each in report.in_doubt)
    return Outcome(f"{report.sent.total():,} of {asked:,} sent back", tuple(lines), tuple(doubt), failure)


def purged(done: int, asked: int) -> Outcome:
    lines = [(done, "removed for good")]
    if done < asked:
        lines.append((asked - done, "no longer in the queue"))
    return Outcome(f"{done:,} of {asked:,} purged", tuple(lines))
