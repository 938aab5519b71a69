#!/usr/bin/env python3
"""Writes docs/reference/ from what the programs themselves know: schemas, commands, tables of codes.

Run it after a change to any of them (`scripts/reference.py`); tests/unit/test_reference.py compares.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from connectorlib.config.schema import bundle, expand  # noqa: E402
from connectorlib.errors import Kind  # noqa: E402
from connectorlib.preflight import tests_file as trials  # noqa: E402
from connectorlib.service.lazy_group import LazyGroup  # noqa: E402  # found through the line above
from dbconnector import config as db  # noqa: E402
from dbconnector import dialects  # noqa: E402
from dbconnector.dialects import sqlstate  # noqa: E402
from sfconnector import config as sf  # noqa: E402
from sfconnector.salesforce import error_codes as salesforce  # noqa: E402
from tests.programs import PROGRAMS  # noqa: E402

FOLDER = ROOT / "docs" / "reference"
MADE = "<!-- Made by scripts/reference.py; do not edit. -->\n\n"
MEANING = {
    Kind.REJECT: "dead-lettered at once",
    Kind.RETRY: "retried with back-off; then the blame rule",
    Kind.UNAVAILABLE: "pause: no messages are taken and none are dead-lettered until the target is available",
    Kind.REFUSED: "pause: a login was refused",
    Kind.CONFIGURATION: "pause: it would fail for every message",
}


def pages() -> dict[str, str]:
    """Return the text of each page, by the name of its file."""
    return {
        "db-config.md": configuration("db.config", "dbconnector", bundle(db.schema())),
        "sf-config.md": configuration("config.json", "sfconnector", bundle(sf.schema())),
        "tests-file.md": tests_files(),
        "commands.md": commands(),
        "codes.md": codes(),
    }


# -- configuration


def configuration(name: str, program: str, schema: Mapping[str, Any]) -> str:
    """Return the page about a configuration file: a table for each of its objects."""
    lead = (
        f"Every key of the configuration of `{program}`. "
        f"`{program} schema` prints the same as a JSON Schema for editors. "
        f"{cell(schema['description'])}\n\n"
    )
    return f"# {name}\n\n{MADE}{lead}" + "".join(Objects(schema).sections())


def tests_files() -> str:
    """Return the page about the tests file of both connectors."""
    lead = "Every key of the file that `test` reads; [checking](../checking.md) has examples."
    parts = [f"# Tests files\n\n{MADE}{lead}\n\n"]
    for program in ("dbconnector", "sfconnector"):
        parts.append(f"## {program}\n\n")
        parts += Objects(bundle(trials.schema(program)), f"{program}: ").sections()
    return "".join(parts)


class Objects:
    """The objects of a schema, each described once, where it comes first."""

    def __init__(self, root: Mapping[str, Any], prefix: str = "") -> None:
        self.root = root
        self.prefix = prefix
        self._places: dict[str, str] = {}

    def sections(self) -> list[str]:
        """Return a section for each object, the outermost first."""
        found: list[str] = []
        waiting: list[tuple[str, Any]] = [("", self.root)]
        while waiting:
            path, schema = waiting.pop(0)
            text, inner = self._section(path, schema)
            found.append(text)
            waiting = inner + waiting
        return found

    def _section(self, path: str, schema: Any) -> tuple[str, list[tuple[str, Any]]]:
        properties: dict[str, Any] = {}
        required: set[str] = set()
        for facts in expand(self.root, schema):
            for key, value in facts.get("properties", {}).items():
                properties[key] = {**value, **properties.get(key, {})}
            required |= set(facts.get("required", ()))
        rows, inner = [], []
        for key, value in properties.items():
            place = f"{path}.{key}" if path else key
            link, deeper = self._inside(place, value)
            inner += deeper
            rows.append(self._row(key, value, key in required, link))
        described = next((each["description"] for each in expand(self.root, schema) if "description" in each), "")
        lead = f"{cell(described)}\n\n" if path and described else ""
        table = "| key | meaning | default | example |\n| --- | --- | --- | --- |\n" + "".join(rows) + "\n"
        return f"## {self.heading(path)}\n\n{lead}{table}", inner

    def heading(self, path: str) -> str:
        return f"{self.prefix}`{path}`" if path else f"{self.prefix}The whole file"

    def _inside(self, place: str, schema: Any) -> tuple[str, list[tuple[str, Any]]]:
        """Return a link to the section about the objects in a value, and what is still to be described."""
        for step, member in self._members(schema):
            if not any("properties" in facts for facts in expand(self.root, member)):
                continue
            own = sorted(self._names(member))
            name = own[0] if own else json.dumps(member, sort_keys=True)
            if name in self._places:
                return self._places[name], []
            self._places[name] = link = f"[{place}{step}](#{anchor(self.heading(place + step))})"
            return link, [(place + step, member)]
        return "", []

    def _members(self, schema: Any) -> Iterator[tuple[str, Any]]:
        yield "", schema
        for facts in expand(self.root, schema):
            if isinstance(facts.get("items"), Mapping):
                yield "[]", facts["items"]
            if isinstance(facts.get("additionalProperties"), Mapping):
                yield ".NAME", facts["additionalProperties"]

    def _names(self, schema: Any) -> Iterator[str]:
        for facts in expand(self.root, schema):
            if "$ref" in facts and any("properties" in each for each in expand(self.root, facts)):
                yield str(facts["$ref"])

    def _row(self, key: str, schema: Any, required: bool, link: str) -> str:
        facts = list(expand(self.root, schema))

        def first(name: str) -> Any:
            return next((each[name] for each in facts if name in each), None)

        text = cell(str(first("description") or ""))
        choices = first("enum")
        text += f" One of {', '.join(code(each) for each in choices)}." if choices else ""
        text += f" See {link}." if link else ""
        default = "required" if required else code(first("default")) if any("default" in each for each in facts) else ""
        examples = first("examples") or []
        return f"| `{key}` | {text.strip()} | {default} | {code(examples[0]) if examples else ''} |\n"


def anchor(heading: str) -> str:
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def cell(text: str) -> str:
    """Return a text for a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def code(value: Any) -> str:
    """Return a value as JSON for a table; one with a backtick or a bar needs care."""
    text = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
    return f"`{text}`"


# -- commands


def commands() -> str:
    """Return the page with all commands, their texts and options."""
    parts = [f"# Commands\n\n{MADE}The output of `--help`, command by command.\n\n"]
    for name, command in PROGRAMS.items():
        parts += _command(name, command)
    return "".join(parts)


def _command(name: str, command: click.Command) -> Iterator[str]:
    text = "\n\n".join(filter(None, (_text(command.help), _text(command.epilog))))
    yield f"## {name}\n\n```text\n{text}\n```\n\n"
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if options:
        yield "| option | meaning | default |\n| --- | --- | --- |\n" + "".join(map(_option, options)) + "\n"
    if isinstance(command, LazyGroup):
        for inner in command.commands:
            yield from _command(f"{name} {inner}", command.load(inner))


def _text(text: str | None) -> str:
    """Return a help text as it was written, without click's marks."""
    return "\n".join(line.rstrip() for line in inspect.cleandoc(text or "").replace("\b\n", "").splitlines()).strip()


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    value = option.metavar or "\\|".join(map(str, choices)) or option.type.name.upper()
    default = code(option.default) if option.show_default and option.default not in (None, "") else ""
    value = "" if option.is_flag or option.count else f" {cell(value)}"
    return f"| {names}{value} | {cell(option.help or '')} | {default} |\n"


# -- codes


def codes() -> str:
    """Return the page with exit codes, and what happens to each error code."""
    exits = re.search(r"^\| code \| meaning \|\n(?:\|.*\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert exits, "README.md has no exit codes"
    parts = [f"# Codes\n\n{MADE}## Exit codes\n\n{exits[0]}\n", "## What happens to an error\n\n"]
    parts.append("| kind | meaning |\n| --- | --- |\n")
    parts += [f"| {kind.value} | {text} |\n" for kind, text in MEANING.items()]
    parts.append(
        "\nA code that is in no table is *unknown*: "
        "the [blame rule](../guarantees.md#what-happens-to-a-failure) decides. "
        "`database.errors` and `case.errors` override all tables.\n\n## Databases\n\n"
        "The driver's own code is looked up first, then the SQLSTATE, then its class (the first two characters).\n\n"
    )
    parts.append(_table("SQLSTATE", {**sqlstate.STATES, **{f"{key}…": kind for key, kind in sqlstate.CLASSES.items()}}))
    shown: list[Mapping[int, Kind]] = [{}]
    for dialect in dialects.known():
        if dialect.natives not in shown:
            shown.append(dialect.natives)
            driver = dialect.drivers[-1]
            note = "" if driver.measured else " (known from documentation only)"
            parts.append(f"### {driver.name}\n\n{_table(f'codes of {driver.name}{note}', _spans(dialect.natives))}")
    parts.append(f"## Salesforce\n\n{_table('codes of Salesforce', salesforce.KINDS)}")
    parts.append("A few codes have several causes; for these the text of the error decides.\n")
    return "".join(parts)


def _table(title: str, kinds: Mapping[Any, Kind]) -> str:
    rows = (
        f"| {kind.value} | {', '.join(str(each) for each in kinds if kinds[each] is kind)} |\n"
        for kind in MEANING
        if kind in kinds.values()
    )
    return f"| kind | {title} |\n| --- | --- |\n{''.join(rows)}\n"


def _spans(natives: Mapping[int, Kind]) -> dict[str, Kind]:
    """Return codes by themselves, but long runs of one kind as `20000 to 20999`."""
    found: dict[str, Kind] = {}
    run: list[int] = []
    for number in [*sorted(natives), None]:
        if run and number == run[-1] + 1 and natives[number] is natives[run[0]]:
            run.append(number)
            continue
        found |= {each: natives[run[0]] for each in _words(run)}
        run = [number] if number is not None else []
    return found


def _words(run: Sequence[int]) -> list[str]:
    return [f"{run[0]} to {run[-1]}"] if len(run) > 9 else [str(each) for each in run]


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    write()
