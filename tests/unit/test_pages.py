"""Whatever README and docs/ show in a block is run by a test, or good as far as one can see without running it.

What is run, is run by tests/e2e/test_pages.py.
"""

import json
import re
import shlex
from collections import Counter
from dataclasses import replace

import click
import pytest
from jsonschema import Draft202012Validator

from connectorlib.config.schema import bundle
from connectorlib.preflight import tests_file as trials
from connectorlib.service.lazy_group import LazyGroup
from dbconnector import config as db
from sfconnector import config as sf
from tests.pages import PAGES, READ, ROOT, RUN, blocks
from tests.programs import PROGRAMS

BLOCKS = [block for page in PAGES for block in blocks(page)]
JSON = [block for block in BLOCKS if block.language == "json"]
#: A key and its value, such as `"match": {"site": "a*"}`, or several.
PARTS = [block for block in BLOCKS if block.language in ("json", "text") and block.text.startswith('"')]
SHELL = [block for block in BLOCKS if block.language == "sh"]
SCHEMAS = [bundle(db.schema()), bundle(sf.schema())]


def test_every_block_is_run_or_read_or_says_why_not():
    wrong = [
        f"{block}: {block.language or 'no language'}"
        for block in BLOCKS
        if block.language not in (*RUN, *READ)
        or (block.not_run and len(block.not_run.split()) < 2)
        or (block.run_by and not (ROOT / block.run_by).is_file())
    ]
    assert wrong == []


def test_most_blocks_are_run():
    kinds = Counter(
        "not run" if block.not_run else "run" if block.language in RUN else "printed" if block.prints else "read"
        for block in BLOCKS
    )
    assert set(kinds) == {"not run", "run", "printed", "read"}
    assert kinds["run"] > kinds["not run"]


@pytest.mark.parametrize("block", JSON, ids=str)
def test_json_is_a_good_configuration_or_a_tests_file_or_a_message(block, tmp_path):
    if block in PARTS:
        return
    data = json.loads(block.text)
    file = tmp_path / "file"
    file.write_text(block.text)
    if not isinstance(data, dict):
        assert block.title
    elif "divisions" in data:
        sf.load(file, resolve_secrets=False)
    elif "database" in data:
        db.load(file, resolve_secrets=False)
    elif "tests" in data:
        trials.load(str(file), "dbconnector" if '"row' in block.text else "sfconnector")
    else:
        assert block.title, f"{block}: neither a configuration nor a file with a title"


def sources(block, folder):
    """Return the queues that a configuration reads, without what the broker does not know."""
    file = folder / "file"
    file.write_text(block.text)
    if "divisions" in json.loads(block.text):
        loaded = [division.source for division in sf.load(file, resolve_secrets=False).divisions]
    else:
        loaded = [source] if (source := db.load(file, resolve_secrets=False).source) else []
    return [replace(source, prefetch=0, prefetch_bytes=0) for source in loaded]


def test_who_follows_several_pages_on_one_broker_has_queues_that_fit_all_of_them(tmp_path):
    complete = [block for block in JSON if block.title and {"divisions", "database"} & json.loads(block.text).keys()]
    queues: dict[str, dict[str, list[str]]] = {}
    for block in complete:
        for source in sources(block, tmp_path):
            queues.setdefault(source.queue, {}).setdefault(str(source), []).append(str(block))
    assert len(queues) > 5
    assert {name: list(different.values()) for name, different in queues.items() if len(different) > 1} == {}
    declared = {name for block in BLOCKS for name in re.findall(r'queue_declare\("(\w+)"', block.text)}
    assert declared
    assert declared & queues.keys() == set()


def places(node, key):
    """Return the schemas that the schema has for a key of this name, wherever that may stand."""
    if isinstance(node, list):
        return [found for each in node for found in places(each, key)]
    if not isinstance(node, dict):
        return []
    properties = node.get("properties", {})
    here = [properties[key]] if isinstance(properties, dict) and key in properties else []
    return here + [found for each in node.values() for found in places(each, key)]


def members(text):
    """Return the keys and values of a part: of an object's inside, or of lines that are examples each."""
    try:
        return list(json.loads("{" + text + "}").items())
    except ValueError:
        return [member for line in text.splitlines() for member in json.loads("{" + line + "}").items()]


def free(root):
    """Return the schemas of keys that people choose: fields of Case, parameters of a statement."""
    return [place["additionalProperties"] for key in ("mapping", "values") for place in places(root, key)]


@pytest.mark.parametrize("block", PARTS, ids=str)
def test_a_part_of_a_configuration_fits_somewhere(block):
    for key, value in members(block.text):
        known = [(root, place) for root in SCHEMAS for place in places(root, key) or free(root)]
        fits = [Draft202012Validator({**place, "$defs": root["$defs"]}).is_valid(value) for root, place in known]
        assert any(fits), f"{block}: {key}"


def lines(block):
    """Return the words of each command of a block: lines that are continued are one, comments are gone."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    return [shlex.split(line, comments=True) for line in joined.splitlines() if line.strip()]


def invocations():
    for block in SHELL:
        for words in lines(block):
            for at, word in enumerate(words):
                name = word.rpartition("/")[2]
                if name in PROGRAMS and (at == 0 or words[at - 1] not in ("pip", "install", "status", "reload")):
                    yield block, name, words[at + 1 :]
                    break


def options_of(name, arguments):
    """Return the options of the command that these arguments reach."""
    command: click.Command = PROGRAMS[name]
    for word in arguments:
        if isinstance(command, LazyGroup) and word in command.commands:
            command = command.load(word)
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}


def test_every_command_that_is_shown_has_the_options_that_are_shown():
    found = list(invocations())
    assert len(found) > 20
    wrong = []
    for block, name, arguments in found:
        arguments = arguments[: next((at for at, word in enumerate(arguments) if word in ("|", ">", "&&", "&")), None)]
        given = [word.partition("=")[0] for word in arguments if word.startswith("-") and word != "-"]
        wrong += [f"{block}: {name} {word}" for word in given if word not in options_of(name, arguments)]
    assert wrong == []


def test_an_example_that_a_page_shows_is_the_one_in_config():
    shown = {block.title: block.text for block in JSON if (ROOT / "config/how-to" / block.title).is_file()}
    files = {path.name: path.read_text() for path in (ROOT / "config/how-to").glob("*.json")}
    assert shown == {name: text for name, text in files.items() if not name.endswith(".tests.json")}


def test_every_file_of_config_that_a_page_names_is_there():
    named = {name for page in PAGES for name in re.findall(r"\bconfig/[\w./@-]*\w", (ROOT / page).read_text())}
    assert "config/db.config.example.tests.json" in named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


#: Words that readers had to read twice, and what to write instead.
COINAGES = {
    r"mend(s|ed)?": "fix, correct",
    r"anew": "again",
    r"for ever": "permanently",
    r"doubled": "duplicated",
    r"far side": "target",
    r"put(s|ting)? (it|them|that|this) right": "correct",
    r"giv(e|es|en|ing) (it |them )?back": "requeue",
    r"come(s)? again": "is redelivered",
    r"at last every": "backing off to once every",
    r"asks nobody": "needs no network",
    r"log-ins?": "login",
    r"rubbish": "bad messages",
    r"what stands": "what is",
    r"so that it is had": "",
}


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_a_page_uses_the_terms_of_the_field(page):
    prose = re.sub(
        r"^ *```.*?^ *```$|`[^`]+`|\]\([^)]*\)", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL
    )
    found = {
        f"{match[0]}: {instead}" for word, instead in COINAGES.items() for match in re.finditer(rf"\b{word}\b", prose)
    }
    assert found == set()
