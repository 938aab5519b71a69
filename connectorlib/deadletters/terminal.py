"""Tables and progress for a person at a terminal. What messages hold is hostile: it may not steer the terminal."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

#: A pipe has no width of its own; lines are not wrapped there.
PIPE_WIDTH = 240
#: Control characters, and marks that turn the direction of the text around them.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, *, lines: bool = False) -> str:
    """Return the text with whatever could steer a terminal as an escape; `lines` keeps line ends and tabs."""
    if text.isprintable():
        return text
    return "".join(char if _harmless(char) or (lines and char in "\n\t") else _escaped(char) for char in text)


def _harmless(char: str) -> bool:
    return unicodedata.category(char) not in _STEERING


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if char > "\x7f" or char in "\n\r\t\b\f" else f"\\x{ord(char):02x}"


def local(time: datetime | None) -> str:
    """Return an instant as the clock on the wall shows it; empty for none."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time is not None else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print rows under their columns; the last column takes what room is left."""
    from rich import box  # late: not needed for JSON
    from rich.table import Table
    from rich.text import Text

    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        last = name == columns[-1]
        found.add_column(name, justify="right" if name in right else "left", no_wrap=not last, overflow="ellipsis")
    for row in rows:
        found.add_row(*(Text(printable(cell)) for cell in row))
    if sys.stdout.isatty():
        _console(None).print(found)
        return
    with _console(PIPE_WIDTH) as console, console.capture() as capture:
        console.print(found)
    print("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))


def pairs(values: Mapping[str, str]) -> None:
    """Print names and their values, one a line; empty ones are left out."""
    width = max((len(name) for name, value in values.items() if value), default=0)
    for name, value in values.items():
        if value:
            print(f"{name:<{width}}  {printable(value)}")


class JsonList:
    """Prints a JSON array, an element a line, as they come; `jq` and a line reader are both content."""

    def __init__(self) -> None:
        self._first = True

    def __enter__(self) -> "JsonList":
        sys.stdout.write("[")
        return self

    def add(self, value: Any) -> None:
        sys.stdout.write(("\n" if self._first else ",\n") + json_text(value))
        self._first = False

    def __exit__(self, *_: object) -> None:
        sys.stdout.write("]\n" if self._first else "\n]\n")


def json_text(value: Any) -> str:
    """Return JSON on one line. Only ASCII, since headers may hold what no terminal and no UTF-8 file can take."""
    return json.dumps(value)


class Progress(Protocol):
    def __call__(self, done: int, total: int) -> None: ...


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show on a terminal how far it is; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console  # late, as above
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            if done % 100 == 0 or done == total:
                bar.update(task, completed=done, total=total)

        yield show


def _console(width: int | None) -> Any:
    from rich.console import Console  # late, as above

    return Console(highlight=False, emoji=False, markup=False, width=width)
