"""A database is one module in dialects/: nothing else is changed for a new one, and nothing else compares its name."""

import ast
from pathlib import Path

import pytest

import dbconnector
from connectorlib.errors import Kind
from connectorlib.init.questions import answered
from dbconnector import dialects, init
from dbconnector.binder import make_binder
from dbconnector.columns import UNKNOWN
from dbconnector.dialects import sqlstate
from dbconnector.odbc import connection_string
from dbconnector.odbc.connection_string import TimeLimits
from dbconnector.sql import page_by_key
from tests.dialects import added

PACKAGE = Path(dbconnector.__file__).parent
NAMES = {name for dialect in dialects.known() for name in (dialect.name, *dialect.schemes)} | {"mssql"}

FOXPRO = """
from connectorlib.errors import Kind
from dbconnector.dialects.base import TOP, Dialect, Driver, Setting, codes

DRIVER = Driver(name="FoxPro", pattern="vfpodbc", defaults={"Wait": "{lock_s}"})
DIALECT = Dialect(
    name="foxpro",
    drivers=(DRIVER,),
    schemes=("foxpro",),
    installed_as="Visual FoxPro",
    session=(Setting("SET REPROCESS TO {lock_s}", "no wait for a lock has a time limit"),),
    max_rows=20,
    max_parameters=100,
    paging=TOP,
    natives=codes(Kind.RETRY, 109),
    own_bindings=lambda column: {bool: lambda value: ".T." if value else ".F."},
)
"""


def test_a_module_in_dialects_is_all_that_a_new_database_needs(tmp_path):
    with added(tmp_path, "foxpro", FOXPRO):
        dialect, driver = dialects.find_driver("/opt/lib/vfpodbc.so")
        assert connection_string.merge_defaults(driver, {}, TimeLimits(lock=7)) == {"Wait": "7"}
        assert sqlstate.classify(dialect, "HY000", 109, "record is in use") is Kind.RETRY
        assert make_binder(dialect, [UNKNOWN], ["x"])((True,)) == (".T.",)
        assert dialect.rows_at_once(30) == 3
        assert page_by_key("SELECT 1", ["a"], rows=10, words=dialect.paging).first.startswith("SELECT TOP 10 *")
        made = init.make(answered(init.QUESTIONS, {"database": "foxpro://me@db/plant"}, None)).configuration
        assert made["database"]["connection"]["Driver"] == "Visual FoxPro"
    assert dialects.find_driver("vfpodbc.so")[0] is dialects.GENERIC


def compared(tree: ast.AST) -> set[str]:
    """Return the texts that a module compares with, matches, or looks a value up by."""
    nodes: list[ast.expr | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                nodes += [node.left, *node.comparators]
            case ast.MatchValue():
                nodes.append(node.value)
            case ast.Dict():
                nodes += node.keys
            case ast.Subscript():
                nodes.append(node.slice)
    inner = (each for node in nodes if node is not None for each in ast.walk(node))
    return {each.value for each in inner if isinstance(each, ast.Constant) and isinstance(each.value, str)}


@pytest.mark.parametrize(
    "code",
    [
        "x = kind == 'sqlite'",
        "x = kind in ('postgresql', 'sqlite')",
        "match kind:\n    case 'oracle' | 'mysql': pass",
        "PLANS = {'mariadb': 1}",
        "x = plans['mariadb']",
    ],
)
def test_a_comparison_with_the_name_of_a_database_is_found(code):
    assert compared(ast.parse(code)) & NAMES


def test_nothing_outside_dialects_compares_the_name_of_a_database():
    files = [file for file in PACKAGE.rglob("*.py") if file.parent.name != "dialects"]
    found = {str(file.relative_to(PACKAGE)): compared(ast.parse(file.read_text())) & NAMES for file in files}
    assert {file: names for file, names in found.items() if names} == {}
