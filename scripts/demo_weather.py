"""Four years of Seattle's weather (NOAA), from one SQLite database through RabbitMQ into another."""

import contextlib
import csv
import importlib.util
import subprocess
from pathlib import Path
from typing import Any

from rich.table import Table

from scripts.demo_show import command, console, example, reason, running, say, write
from tests.services.rabbitmq import Taken, Vhost
from tests.services.sqlite import SqliteDatabase
from tests.services.waiting import eventually

TABLE = """
CREATE TABLE weather (
    day text PRIMARY KEY, precipitation real, temp_max real, temp_min real, wind real, kind text, sent_at text
)
"""
COLUMNS = "day, precipitation, temp_max, temp_min, wind, kind"
BROKEN = b'{"day": "2016-01-01", "precipitation": 0.5, "temp_max": '
DBCONNECTOR = command("dbconnector")


def run(folder: Path, vhost: Vhost) -> bool:
    """Move the data set and show what came of it; return whether all of it is where it belongs."""
    source, target = make_database(folder, "source"), make_database(folder, "target")
    load(source)
    dead = move(folder, vhost, source, target)
    good = show(source, target, dead)
    source.close()
    target.close()
    return good


def make_database(folder: Path, name: str) -> SqliteDatabase:
    database = SqliteDatabase(folder / f"{name}.db")
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
    with running([DBCONNECTOR, "subscribe", "-c", writing], folder / "subscribe.log") as process:
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


def write_configuration(folder: Path, name: str, vhost: Vhost, database: SqliteDatabase) -> Path:
    """Take an example of config/ and put in where the demo's own broker and database are."""
    configuration = example(name)
    configuration["database"]["connection"] = database.connection
    configuration["broker"].update(vhost.config())
    return write(folder, name, configuration)


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
    table.add_row("dead-lettered", "\n".join([str(len(dead)), *map(reason, dead)]))
    table.add_row("source and target", "the same, value by value" if same else "[red]differ[/red]")
    console.print(table)
    return same and [body for _, _, body in dead] == [BROKEN]
