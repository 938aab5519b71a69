"""What a run of scripts/matrix found, as a row of the table in docs/compatibility.md.

A row is a list of cells, one for each of COLUMNS. Nothing here reads or starts anything.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

SUITES = ("unit", "integration", "faults", "e2e")
#: The columns of versions, and the Debian packages that they name.
PACKAGES = {
    "RabbitMQ": "rabbitmq-server",
    "Erlang": "erlang-base",
    "PostgreSQL": r"postgresql-\d+",
    "psqlodbc": "odbc-postgresql",
    "MariaDB": "mariadb-server",
    "MariaDB ODBC": "odbc-mariadb",
    "sqliteodbc": "libsqliteodbc",
}
COLUMNS = ("System", "Python", "Day", *PACKAGES, *SUITES)
NOT_RUN = "not run"
BEGIN = "<!-- Written by scripts/matrix; do not edit. -->\n"
END = "<!-- End of what scripts/matrix writes. -->\n"

Row = list[str]

#: A run of that system and that Python replaces the row of an earlier one.
_KEY = slice(0, 2)
#: Suites that were run on the same day with the same versions stand in one row.
_RUN = slice(0, -len(SUITES))


def outcome(code: int, last_line: str) -> str:
    """Return the cell for a suite: `1,088` tests passed, or what else pytest's exit code and last line say."""
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?)\b", last_line)}
    passed = counts.get("passed", 0)
    failed = sum(counts.values()) - passed
    if code not in (0, 1) or not counts:
        return f"broken off after {passed + failed:,}"
    return f"{passed:,}, {failed:,} failed" if failed else f"{passed:,}"


def has_failed(row: Row) -> bool:
    return not all(re.fullmatch(rf"[\d,]+|{NOT_RUN}", cell) for cell in row[_RUN.stop :])


def versions(packages: str) -> list[str]:
    """Return the upstream versions for PACKAGES from lines of `name version`, as dpkg-query writes them."""
    installed = [line.split() for line in packages.splitlines() if len(line.split()) == 2]
    return [
        next((_upstream(version) for name, version in installed if re.fullmatch(pattern, name)), "?")
        for pattern in PACKAGES.values()
    ]


def _upstream(version: str) -> str:
    return re.sub(r"^\d+:|[-+~][^:]*$", "", version)


def row(system: str, python: str, day: str, packages: str, outcomes: Mapping[str, str]) -> Row:
    return [system, python, day, *versions(packages), *(outcomes.get(suite, NOT_RUN) for suite in SUITES)]


def table(rows: Iterable[Row]) -> str:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def rows(text: str) -> list[Row]:
    """Return the rows of a table that `table` wrote."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][2:]


def merged(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Return the rows of earlier runs with those of this one in their places."""
    found = {tuple(each[_KEY]): each for each in old}
    for each in new:
        key = tuple(each[_KEY])
        found[key] = _completed(found.get(key, []), each)
    return [found[key] for key in sorted(found)]


def _completed(old: Row, new: Row) -> Row:
    if old[_RUN] != new[_RUN]:
        return new
    return [before if now == NOT_RUN else now for before, now in zip(old, new, strict=True)]


def written(page: str, new: Sequence[Row]) -> str:
    """Return a page with these rows in its table, which stands between BEGIN and END."""
    before, _, rest = page.partition(BEGIN)
    old, marker, after = rest.partition(END)
    if not marker:
        raise ValueError("the page has no place for the table")
    return f"{before}{BEGIN}\n{table(merged(rows(old), new))}\n{END}{after}"
