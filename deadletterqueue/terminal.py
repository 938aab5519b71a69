"""Tables and progress for a person at a terminal. What messages hold is hostile: it may not steer the terminal."""

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from connectorlib.values.text import printable

#: Between two columns.
GAP = "  "
#: What the last column needs, unless all its texts are shorter.
ROOM = 40
#: The widest cell that is no sentence, on a wide terminal and on a narrow one. One message with a reason of a thousand
#: letters may not push the columns of all others out of sight.
CELL, NARROW_CELL = 48, 22
#: The longest name that others are set in line with.
NAME = 40


def span(first: datetime | None, last: datetime | None) -> str:
    """Return from when to when, the day only once where it is the same."""
    if first is None or last is None or local(first) == local(last):
        return local(first or last)
    end = local(last)
    return f"{local(first)} – {end[11:] if end[:10] == local(first)[:10] else end}"


def local(time: datetime | None) -> str:
    """Return an instant as the clock on the wall shows it; empty for none."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time is not None else ""


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    below: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print rows under their columns, as wide as the terminal is; see `laid_out`."""
    from rich.text import Text  # late: not needed for JSON

    terminal = sys.stdout.isatty()
    console = _console()
    width = console.width if terminal else None
    lines = laid_out(columns, rows, width, right=right, below=below, spare=spare)
    if not terminal:
        print("\n".join(lines))
        return
    console.print(Text(lines[0], style="bold"), soft_wrap=True)
    console.print(Text("\n".join(lines[1:])), soft_wrap=True)


def laid_out(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    *,
    right: Sequence[str] = (),
    below: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> list[str]:
    """Return the lines of a table, the names of the columns first. Columns without any text are left out.

    Where there is room the last column is cut to what is left of it. In a narrow terminal the columns `below` go to
    lines of their own, and the `spare` ones are left out. With no width, as for a pipe, nothing is cut.
    """
    from rich.cells import cell_len

    cells = [[printable(cell) for cell in row] for row in rows]
    sentences = {*below, columns[-1]}
    if width is not None:
        cells = _narrowed(cells, columns, sentences, CELL)
    used = [at for at, name in enumerate(columns) if not cells or any(row[at] for row in cells)]
    widths = _widths(cells, columns)
    fixed = sum(widths[at] + len(GAP) for at in used[:-1])
    if width is None or fixed + min(widths[used[-1]], ROOM) <= width:
        beside, under = used, []
    else:
        beside = [at for at in used if columns[at] not in (*below, *spare)]
        under = [at for at in used if columns[at] in below]
        cells = _narrowed(cells, columns, sentences, max(width // 4, NARROW_CELL))
        widths = _widths(cells, columns)

    def line(row: Sequence[str]) -> str:
        padded = []
        for at in beside:
            blanks = " " * (widths[at] - cell_len(row[at]))
            padded.append(blanks + row[at] if columns[at] in right else row[at] + blanks)
        return _cut(GAP.join(padded).rstrip(), width)

    found = [line(columns)]
    for row in cells:
        found.append(line(row))
        found += [_cut(f"    {row[at]}", width) for at in under if row[at]]
    return found


def _widths(cells: Sequence[Sequence[str]], columns: Sequence[str]) -> list[int]:
    from rich.cells import cell_len

    return [max(cell_len(text) for text in (name, *(row[at] for row in cells))) for at, name in enumerate(columns)]


def _narrowed(
    cells: Sequence[Sequence[str]], columns: Sequence[str], sentences: Collection[str], most: int
) -> list[list[str]]:
    """Return the cells, none wider than `most` but those of `sentences`."""
    return [
        [cell if name in sentences else _cut(cell, most) for name, cell in zip(columns, row, strict=True)]
        for row in cells
    ]


def _cut(line: str, width: int | None) -> str:
    from rich.cells import cell_len, set_cell_size

    return line if width is None or cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"


def pairs(values: Mapping[str, str]) -> None:
    """Print names and their values, one a line; empty ones are left out."""
    told = [(printable(name), printable(value)) for name, value in values.items() if value]
    width = max((len(name) for name, _ in told if len(name) <= NAME), default=0)
    for name, value in told:
        print(f"{name:<{width}}  {value}")


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


def _console() -> Any:
    from rich.console import Console  # late, as above

    return Console(highlight=False, emoji=False, markup=False)
