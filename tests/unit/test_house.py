"""The rule of the house: a folder is a station on a message's way, a file is a noun and stands once, imports go down.

CONTRIBUTING.md has the picture. An exception has its reason beside it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("dbconnector", "sfconnector", "deadletterqueue")
PACKAGES = ("connectorlib", *PROGRAMS)
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")) if file.name != "__init__.py"]

#: Words in -ing that are nouns of the field.
NOUNS = {"connection_string", "mapping", "missing", "paging", "routing", "tracing", "wording"}
#: Names that may stand more than once.
OFTEN = {
    "cli": "each of the three programs has a command line",
    "sink": "what a sink is, and the sinks of the two connectors",
}
#: The rooms of connectorlib from the ground up: each may import those before it. `service` and `monitoring` stand
#: beside the way and are used by it.
ROOMS = (
    "dataclass",
    "version",
    "errors",
    "messages",
    "values",
    "shared_settings",
    "limits",
    "service",
    "amqp",
    "formats",
    "expressions",
    "config",
    "monitoring",
    "pipeline",
    "preflight",
    "init",
)
#: Imports that go up, by importing and imported module, and why.
UPWARDS = {
    ("connectorlib.service.cli_commands", "connectorlib.monitoring"): "adds the command `status` to a command line",
    ("connectorlib.formats.body_position", "connectorlib.config"): "the reader of configuration files knows the lines",
    ("connectorlib.service.cli_commands", "connectorlib.config"): "options take durations as the configuration does",
    ("connectorlib.monitoring.flow_stats", "connectorlib.pipeline"): "measures a sink and shows its pauses",
    ("connectorlib.monitoring.status", "connectorlib.pipeline"): "shows pauses",
}


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def import_nodes(file: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Return the imports of a file, wherever in it."""
    return tuple(node for node in ast.walk(tree_of(file)) if isinstance(node, ast.Import | ast.ImportFrom))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "connectorlib" and len(parts) > 1 else parts[0]


def imports_of(file: Path) -> Iterator[str]:
    """Yield the modules of ours that a file imports, wherever in it."""
    for node in import_nodes(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES)
        elif node.module and node.module.split(".")[0] in PACKAGES:
            if node.module in PACKAGES:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def is_gerund(stem: str) -> bool:
    return stem.endswith("ing") and stem not in NOUNS


def repeated(files: list[Path]) -> dict[str, list[str]]:
    """Return the file names that stand more than once, but for a job that both connectors have."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in files:
        found[file.stem].append(name_of(file))
    both = [f"{connector}.{{}}" for connector in ("dbconnector", "sfconnector")]
    return {
        stem: modules
        for stem, modules in found.items()
        if len(modules) > 1 and stem not in OFTEN and modules != [each.format(stem) for each in both]
    }


def goes_up(importer: str, imported: str) -> bool:
    """Whether an import goes from a lower room to a higher one, into a program, or from one program to another."""
    of, to = room_of(importer), room_of(imported)
    if to in PROGRAMS:
        return of != to
    if of in PROGRAMS or of == to:
        return False
    return ROOMS.index(to) > ROOMS.index(of)


def test_a_file_is_named_by_a_noun() -> None:
    assert [name_of(file) for file in FILES if is_gerund(file.stem)] == []


def test_a_file_name_stands_once_unless_both_connectors_have_it_for_the_same_job() -> None:
    assert repeated(FILES) == {}


def test_imports_go_down() -> None:
    upwards = [
        (name_of(file), imported)
        for file in FILES
        for imported in imports_of(file)
        if goes_up(name_of(file), imported) and (name_of(file), f"connectorlib.{room_of(imported)}") not in UPWARDS
    ]
    assert upwards == []


def test_no_files_import_each_other_in_a_circle() -> None:
    modules = {name_of(file): file for file in FILES}
    graph = {name: {each for each in imports_of(file) if each in modules} - {name} for name, file in modules.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, with the circle


@pytest.mark.parametrize("package", PACKAGES)
def test_a_public_class_name_stands_once_in_a_package(package: str) -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for file in FILES:
        if name_of(file).split(".")[0] == package:
            for node in tree_of(file).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(name_of(file))
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


#: Where a text that users see names what the library does not know.
SHOWN = {
    ("connectorlib.monitoring.metrics", "salesforce"): "the help of a metric",
}


@pytest.mark.parametrize(
    ("library", "room"),
    [
        ("pika", "connectorlib.amqp"),
        ("msgspec", "connectorlib.formats"),
        ("pyodbc", "dbconnector.odbc"),
        ("requests", "connectorlib.service"),
        ("simple_salesforce", "sfconnector.salesforce"),
        ("prometheus_client", "connectorlib.monitoring"),
        ("opentelemetry", "connectorlib.monitoring"),
        ("cryptography", "connectorlib.preflight"),
        ("backports", "connectorlib.formats"),
        ("cbor2", "connectorlib.formats"),
        ("cronsim", "dbconnector"),
        ("msgpack", "connectorlib.formats"),
    ],
)
def test_a_foreign_library_is_imported_in_one_folder(library: str, room: str) -> None:
    found = set()
    for file in FILES:
        for node in import_nodes(file):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == library for name in names):
                found.add(name_of(file).rpartition(".")[0])
    assert found == {room}


def test_data_classes_are_made_by_ours():
    made_otherwise = {
        name_of(file)
        for file in FILES
        for node in import_nodes(file)
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
        if any(each.name == "dataclass" for each in node.names)
    }
    assert made_otherwise == {"connectorlib.dataclass"}  # for type checkers


@pytest.mark.parametrize("word", ["salesforce", "sfconnector", "dbconnector", "deadletterqueue"])
def test_the_library_names_no_program(word: str) -> None:
    files = [name_of(file) for file in FILES if room_of(name_of(file)) in ROOMS and word in file.read_text().lower()]
    assert [name for name in files if (name, word) not in SHOWN] == []


#: What fails by itself where it finds nothing.
ASSERTING = {"raises", "warns", "fail", "eventually"}


def functions_of(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Yield the name of each function with what it calls; an assertion counts as a call of `fail`."""
    classes = (each for each in tree.body if isinstance(each, ast.ClassDef))
    for function in [*tree.body, *(each for of in classes for each in of.body)]:
        if isinstance(function, ast.FunctionDef):
            called = set()
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    called.add(getattr(node.func, "attr", "") or getattr(node.func, "id", ""))
                elif isinstance(node, ast.Assert):
                    called.add("fail")
            yield function.name, called


def without_assertion(functions: list[tuple[str, set[str]]]) -> list[str]:
    """Return the tests that contain no assertion and call no helper that contains one; helpers are known by name."""
    helpers = [each for each in functions if not each[0].startswith("test_")]
    asserting = ASSERTING
    while more := {name for name, called in helpers if called & asserting} - asserting:
        asserting = asserting | more
    return [name for name, called in functions if name.startswith("test_") and not called & asserting]


def test_every_test_asserts_something() -> None:
    files = (ROOT / "tests").rglob("*.py")
    assert without_assertion([each for file in files for each in functions_of(tree_of(file))]) == []


def test_the_rule_finds_what_breaks_it() -> None:
    assert is_gerund("reading")
    assert not is_gerund("mapping")
    twice = [ROOT / "connectorlib" / "amqp" / "errors.py", ROOT / "connectorlib" / "errors.py"]
    assert list(repeated(twice)) == ["errors"]
    both = [ROOT / connector / "config.py" for connector in ("dbconnector", "sfconnector")]
    assert repeated(both) == {}
    assert goes_up("connectorlib.amqp.broker", "connectorlib.pipeline.pump")
    assert goes_up("connectorlib.amqp.broker", "dbconnector.sink")
    assert goes_up("sfconnector.sink", "dbconnector.sink")
    assert not goes_up("sfconnector.sink", "connectorlib.amqp.broker")
    tests = ast.parse(
        "def look(x): assert x\ndef more(): look(1)\ndef test_a(): print(1)\ndef test_b(): self.more()\n"
        "def test_c():\n  with pytest.raises(ValueError): f()"
    )
    assert without_assertion([*functions_of(tests)]) == ["test_a"]
