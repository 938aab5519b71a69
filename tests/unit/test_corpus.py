"""Every body of tests/corpus is read or refused as its specification says, with a reason, and costs no more than its
size is worth."""

import gc
import json
import subprocess
import sys
from pathlib import Path
from time import thread_time

import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.formats import compile_format
from connectorlib.service.redaction import Secrets
from connectorlib.shared_settings import Limits
from tests.corpus import vectors
from tests.corpus.attacks import ATTACKS, PLAIN

ROOT = Path(__file__).parents[2]
SIZE = 200_000
#: How many times the time of a plain body of the same size an attack may take, and how many times its size in memory.
#: The worst take 4 times and 72 times as much; what is not linear takes thousands.
MOST_TIME = 20
MOST_MEMORY = 128


def outcome(form, body):
    """Return the records, or the failure."""
    try:
        return form.decode(body)
    except Failed as failed:
        return failed.failure


def outcomes(name):
    form = compile_format(vectors.FORMATS[name], Limits())
    return [(vector, outcome(form, vector.body)) for vector in vectors.read(name)]


def expected(name, vector):
    """Return the records that a body has to be read to."""
    if name == "json":
        value = json.loads(vector.body.decode("utf-8-sig"))
        return value if isinstance(value, list) else [value]
    value = json.loads(vector.value)
    return [dict(zip("abc", row, strict=True)) for row in value] if name == "csv" else [value]


def equal(name, found, records):
    if name != "json":
        return found == records
    # The library's decimals are exact and Python's floats are not, so they are compared as floats.
    return json.loads(json.dumps(found, default=float)) == records


@pytest.mark.parametrize("name", vectors.FORMATS)
def test_what_is_valid_is_read_to_its_value(name):
    wrong = [
        f"{vector}: {found}"
        for vector, found in outcomes(name)
        if vector.accepted and not (isinstance(found, list) and equal(name, found, expected(name, vector)))
    ]
    assert wrong == []


@pytest.mark.parametrize("name", vectors.FORMATS)
def test_what_is_not_valid_is_refused_with_a_reason(name):
    refused = [(vector, found) for vector, found in outcomes(name) if not vector.accepted]
    assert len(refused) > 30
    assert [str(vector) for vector, found in refused if isinstance(found, list)] == []
    for vector, failure in refused:
        assert failure.kind is Kind.REJECT, str(vector)
        assert failure.code in ("not-decodable", "too-large"), str(vector)
        assert failure.text, str(vector)
        assert failure.text.isprintable(), str(vector)
        assert len(failure.text) <= 200, str(vector)


def test_python_itself_reads_what_is_only_too_strict_for_us_and_not_the_rest():
    def reads(body):
        try:
            json.loads(body.decode("utf-8"), parse_constant=lambda word: 1 / 0)
        except (ValueError, ZeroDivisionError):
            return False
        return True

    wrong = [str(each) for each in vectors.read("json") if not each.accepted and reads(each.body) != _strict(each)]
    assert wrong == []


def _strict(vector):
    return vector.verdict == "strict"


def processor_time(form, body):
    gc.freeze()  # what other tests have left is not searched for garbage on account of this one
    try:
        begin = thread_time()
        outcome(form, body)
        return thread_time() - begin
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_takes_many_times_as_long_as_a_plain_body_of_its_size(name):
    form = compile_format(vectors.FORMATS[name], Limits())
    plain = PLAIN[name](SIZE)
    assert isinstance(outcome(form, plain), list)
    usual = max(processor_time(form, plain) for _ in range(3))
    times = {attack: min(processor_time(form, make(SIZE)) for _ in range(2)) for attack, make in ATTACKS[name].items()}
    assert {attack: round(time / usual) for attack, time in times.items() if time > MOST_TIME * usual} == {}


#: In a process of its own, for the most memory that a process had never falls.
MEASURE = """
from resource import RUSAGE_SELF, getrusage
from connectorlib.errors import Failed
from connectorlib.formats import compile_format
from connectorlib.service.redaction import Secrets
from connectorlib.shared_settings import Limits
from tests.corpus import attacks, vectors

def memory():
    return getrusage(RUSAGE_SELF).ru_maxrss * 1024

for name, its in attacks.ATTACKS.items():
    form = compile_format(vectors.FORMATS[name], Limits())
    for attack, make in its.items():
        body, before = make({size}), memory()
        try:
            form.decode(body)
        except Failed:
            pass
        print(name, attack, (memory() - before) // len(body), sep=": ")
"""


def test_no_attack_takes_many_times_its_size_in_memory():
    size = 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(size=size)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    grown = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())
    assert len(grown) == sum(map(len, ATTACKS.values()))
    assert {attack: times for attack, times in grown.items() if int(times) > MOST_MEMORY} == {}


SECRET_SHAPES = [
    "pwd=",
    "pwd={",
    'pwd="\\',
    "pwd='\\",
    "a://",
    "a://b:",
    "a://b:c@",
    "a.b-c+",
    "bearer ",
    "a:",
    "password ",
]


@pytest.mark.parametrize("part", SECRET_SHAPES)
def test_a_text_is_searched_for_secrets_in_time_proportional_to_its_length(part):
    def time_for(length):
        text = part * (length // len(part))
        begin = thread_time()
        Secrets().redact(text)
        return thread_time() - begin

    usual = max(time_for(20_000) for _ in range(3))
    assert min(time_for(160_000) for _ in range(2)) < 24 * usual  # 8 times as long; what is quadratic takes 64 times
