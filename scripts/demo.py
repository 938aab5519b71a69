"""Four years of Seattle's weather (NOAA), from one SQLite database through RabbitMQ into another.

Started by scripts/demo, which sets up what it needs. The broker is a private one on free ports, the databases are files
in a temporary folder; nothing is left of them.
"""

import contextlib
import csv
import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the services are started by the same code as in the tests

from tests.services.rabbitmq import RabbitMQ, Taken, Vhost  # noqa: E402 - needs the path above
from tests.services.server import Run  # noqa: E402 - needs the path above
from tests.services.sqlite import SqliteDatabase  # noqa: E402 - needs the path above
from tests.services.waiting import eventually  # noqa: E402 - needs the path above

TABLE = """
CREATE TABLE weather (
    day text PRIMARY KEY, precipitation real, temp_max real, temp_min real, wind real, kind text, sent_at text
)
"""
COLUMNS = "day, precipitation, temp_max, temp_min, wind, kind"
BROKEN = b'{"day": "2016-01-01", "precipitation": 0.5, "temp_max": '
DBCONNECTOR = Path(sys.executable).with_name("dbconnector")
console = Console(highlight=False)


def main() -> int:
    started = time.monotonic()
    with Run() as run:
        say("starting a private RabbitMQ node")
        node = RabbitMQ(run)
        node.start()
        with node.vhost() as vhost:
            source, target = make_database(run, "source"), make_database(run, "target")
            load(source)
            dead = move(run.folder, vhost, source, target)
            good = show(source, target, dead)
            source.close()
            target.close()
        node.stop()
    say(f"nothing is left running; it took {time.monotonic() - started:.0f} s")
    return 0 if good else 1


def make_database(run: Run, name: str) -> SqliteDatabase:
    database = SqliteDatabase(run.folder / f"{name}.db")
    database.execute(TABLE)
    return database


def load(database: SqliteDatabase) -> None:
    """Fill the source with the data set that the package vega-datasets carries."""
    found = importlib.util.find_spec("vega_datasets")  # found, not imported: its code needs pandas
    assert found
    assert found.origin
    with (Path(found.origin).parent / "_data" / "seattle-weather.csv").open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    database.execute("BEGIN")
    for day, *measured in rows:
        sql = f"INSERT INTO weather ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
        database.execute(sql, day.replace("/", "-"), *measured)
    database.execute("COMMIT")
    say(f"loaded {len(rows)} days of weather into the source database")


def move(folder: Path, vhost: Vhost, source: SqliteDatabase, target: SqliteDatabase) -> list[Taken]:
    """Run both commands of the connector, send one broken message, and return the dead letters."""
    sending = write_configuration(folder, "weather.select.json", vhost, source)
    writing = write_configuration(folder, "weather.subscribe.json", vhost, target)
    with subscribing(writing, folder / "subscribe.log") as process:
        eventually(lambda: vhost.exists("weather.readings") or process.poll(), 30, what="the queue declared")
        assert process.poll() is None, f"dbconnector subscribe exited with {process.returncode}"
        say("dbconnector subscribe is running; starting dbconnector select")
        subprocess.run([DBCONNECTOR, "select", "-c", sending], check=True)
        vhost.publish("weather", "weather.broken", BROKEN)
        say("sent one broken message")
        with contextlib.suppress(AssertionError):  # what did not arrive is told by the table
            eventually(lambda: is_done(source, target, vhost), 60)
    return vhost.get_all("dead-letter")


def is_done(source: SqliteDatabase, target: SqliteDatabase, vhost: Vhost) -> bool:
    return target.count("weather") >= source.count("weather") and vhost.depth("dead-letter") > 0


def write_configuration(folder: Path, example: str, vhost: Vhost, database: SqliteDatabase) -> Path:
    """Take an example of config/ and put in where the demo's own broker and database are."""
    configuration: dict[str, Any] = json.loads((ROOT / "config" / example).read_text())
    configuration["database"]["connection"] = database.connection
    configuration["broker"].update(vhost.config())
    path = folder / example
    path.write_text(json.dumps(configuration, indent=2))
    return path


@contextlib.contextmanager
def subscribing(configuration: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dbconnector subscribe` meanwhile, and end it as systemd does: SIGTERM, then it has to exit 0."""
    with log.open("w") as stderr:
        process = subprocess.Popen([DBCONNECTOR, "subscribe", "-c", configuration], stderr=stderr)
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
            assert code == 0, f"dbconnector subscribe exited with {code}"
        except BaseException:
            process.kill()
            process.wait(10)
            console.print(log.read_text(), style="dim")
            raise


def compared(database: SqliteDatabase) -> list[tuple[Any, ...]]:
    return database.rows(f"SELECT {COLUMNS} FROM weather ORDER BY day")


def show(source: SqliteDatabase, target: SqliteDatabase, dead: list[Taken]) -> bool:
    """Print the table and return whether everything is where it belongs."""
    same = compared(source) == compared(target)
    published = source.value("SELECT count(*) FROM weather WHERE sent_at IS NOT NULL")
    table = Table("", "", title="Seattle's weather, through RabbitMQ", title_justify="left", show_header=False)
    table.add_row("rows in source", str(source.count("weather")))
    table.add_row("published", f"{published}, and one broken message")
    table.add_row("written", str(target.count("weather")))
    table.add_row("dead-lettered", "\n".join([str(len(dead)), *map(describe, dead)]))
    table.add_row("source and target", "the same, value by value" if same else "[red]differ[/red]")
    console.print(table)
    return same and [body for _, _, body in dead] == [BROKEN]


def describe(letter: Taken) -> str:
    """Return why a message was dead-lettered, from the headers that it carries."""
    headers = letter[1].headers
    return f"{headers['dead-reason']}: {headers['dead-code']}, {headers['dead-text']}"


def say(text: str) -> None:
    console.print(f"demo: {text}")


if __name__ == "__main__":
    sys.exit(main())
