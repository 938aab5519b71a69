"""Tables and progress for a terminal. What messages hold is hostile: control characters are printed as escapes.

Tables are laid out by hand; CONTRIBUTING.md says why.
"""

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Protocol

from connectorlib.values.text import printable

#: Between two columns.
GAP = "  "
#: The width that the last column needs, unless all texts in it are shorter.
ROOM = 40
#: The widest cell of a column without sentences, on a wide terminal and on a narrow one: one message with a code of a
#: thousand letters must not push the other columns out of the window.
CELL, NARROW_CELL = 48, 22
#: The longest name with which the values of others are aligned.
NAME = 40
_LOCAL = "%Y-%m-%d %H:%M:%S"


def span(first: datetime | None, last: datetime | None) -> str:
    """Return a period as text, with the day only once if it begins and ends on the same one."""
    if first is None or last is None or local(first) == local(last):
        return local(first or last)
    end = local(last)
    return f"{local(first)} – {end[11:] if end[:10] == local(first)[:10] else end}"


def local(time: datetime | None) -> str:
    """Return an instant in local time; "" for None, and in UTC where the local year has no number."""
    if time is None:
        return ""
    try:
        return time.astimezone().strftime(_LOCAL)
    except (OverflowError, ValueError, OSError):  # at the ends of the calendar; which one depends on the C library
        return time.astimezone(UTC).strftime(f"{_LOCAL}Z")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    below: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print a table, as wide as the terminal; see `laid_out`."""
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

    The last column is cut to the remaining width. In a narrow terminal the columns `below` get lines of their own, and
    the columns `spare` are left out. Without a width, as for a pipe, nothing is cut.
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
        in_line, under = used, []
    else:
        in_line = [at for at in used if columns[at] not in (*below, *spare)]
        under = [at for at in used if columns[at] in below]
        cells = _narrowed(cells, columns, sentences, max(width // 4, NARROW_CELL))
        widths = _widths(cells, columns)

    def line(row: Sequence[str]) -> str:
        padded = []
        for at in in_line:
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
    """Return the cells, cut to `most` except in the columns `sentences`."""
    return [
        [cell if name in sentences else _cut(cell, most) for name, cell in zip(columns, row, strict=True)]
        for row in cells
    ]


def _cut(line: str, width: int | None) -> str:
    from rich.cells import cell_len, set_cell_size

    return line if width is None or cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"


def pairs(values: Mapping[str, str]) -> None:
    """Print names and values, one pair a line; pairs without a value are left out."""
    lines = [(printable(name), printable(value)) for name, value in values.items() if value]
    width = max((len(name) for name, _ in lines if len(name) <= NAME), default=0)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


class JsonList:
    """Prints a JSON array with one element a line, so that `jq` and line-based tools can both read it."""

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
    """Return JSON on one line, in ASCII: headers may hold text that cannot be encoded as UTF-8."""
    return json.dumps(value)


class Progress(Protocol):
    def __call__(self, done: int, total: int) -> None: ...


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show a progress bar if standard error is a terminal."""
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


def print_result(text: str, values: dict[str, Any], *, as_json: bool, file: IO[str] | None = None) -> None:
    """Print the result: as text on standard error, as JSON on standard output unless `file` is given."""
    print(json_text(values) if as_json else text, file=(file or sys.stdout) if as_json else sys.stderr)
