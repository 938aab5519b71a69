"""What is measured: each case is the connector at some work, its limit, its naive twin, and what it should reach.

Cases with the same limit share its runs, and stand together so that they alternate with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.bench import load
from tests.bench.calling import Calling
from tests.bench.contenders import Contender, Selecting, Subscribing
from tests.bench.latency import Waiting
from tests.bench.load import Bad
from tests.bench.ringing import Ringing
from tests.bench.services import TITLES
from tests.bench.starting import Ending, First, Receiving


@dataclass(frozen=True)
class Case:
    name: str
    connector: Contender
    limit: Contender
    #: The naive twin; None where there is none.
    other: Contender | None
    #: The least ratio to the limit, and over the other one; None where none was set.
    target: float | None = None
    gain: float | None = None
    quick: bool = False
    #: What `other` is.
    beside: str = "naive"
    unit: str = "messages/s"
    #: Messages a second that the calls' own latency allows.
    bound: float | None = None
    #: A program without which it cannot be measured.
    needs: str = ""


def inserting() -> Iterator[Case]:
    for database, title in TITLES.items():
        own = 0.85 if database == "postgresql" else 0.8
        yield subscribing(f"JSON → {title}", Subscribing("connector", database), own, quick=True)
        if database == "postgresql":
            yield from spoiled()
        if database != "sqlite":  # which refuses no text for its length
            yield from refused(database, title)
        for format, name in (("xml", "XML"), ("delimited", "delimited")):
            work = Subscribing("connector", database, format=format)
            yield subscribing(f"{name} → {title}", work, 0.6, quick=database == "postgresql")


def spoiled() -> Iterator[Case]:
    """The limit is the loop without an inbox over as many good messages."""
    plain = Subscribing("connector")
    yield subscribing("JSON → PostgreSQL, inbox", replace(plain, inbox=True), 0.6, quick=True)
    for every, share, wanted in ((100, "1 %", 0.75), (10, "10 %", None)):
        work = replace(plain, bad=Bad("undecodable", every))
        yield subscribing(f"JSON → PostgreSQL, {share} undecodable", work, wanted, quick=every == 100)


def refused(database: str, title: str) -> Iterator[Case]:
    for every, share, wanted in ((100, "1 %", 0.6), (10, "10 %", 0.25)):
        work = Subscribing("connector", database, bad=Bad("refused", every))
        yield subscribing(f"JSON → {title}, {share} refused", work, wanted, quick=every == 100)


def shapes() -> Iterator[Case]:
    for database, title in TITLES.items():
        for name, each in (("ten rows a message", load.TEN), ("two statements", load.TWO)):
            yield subscribing(f"JSON → {title}, {name}", Subscribing("connector", database, each))
    for (name, database), changes in load.CHANGING.items():
        work = Subscribing("connector", database, changes)
        yield subscribing(f"JSON → {TITLES[database]}, {name}", work, 0.6)
    for name, each in (("30 columns", load.WIDE), ("2 kB of text", load.TEXT)):
        yield subscribing(f"JSON → PostgreSQL, {name}", Subscribing("connector", load=each))


def subscribing(name: str, work: Subscribing, target: float | None = None, quick: bool = False) -> Case:
    plain = replace(work, bad=None, inbox=False)
    limit, naive = replace(plain, how="limit"), replace(plain, how="naive")
    return Case(f"subscribe, {name}", work, limit, naive, target, quick=quick)


def twofold() -> Iterator[Case]:
    """Two processes on one queue, against one of them."""
    one = Subscribing("connector")
    slow = replace(one, batch=50, commit_s=0.02)
    for name, each, gain in (("JSON → PostgreSQL", one, 1.35), ("20 ms a commit, 50 a batch", slow, 1.8)):
        work = replace(each, processes=2)
        limit = replace(work, how="limit")
        yield Case(f"two processes, {name}", work, limit, each, gain=gain, beside="one process")


def beside_node() -> Iterator[Case]:
    """A loop by hand in Node.js, whose drivers and event loop leave more of the machine than Python's."""
    for processes, name in ((1, "subscribe, JSON → PostgreSQL"), (2, "two processes, JSON → PostgreSQL")):
        work = Subscribing("connector", processes=processes)
        yield Case(f"{name}, beside Node.js", work, replace(work, how="node"), None, 0.8, needs="npm")


def selecting() -> Iterator[Case]:
    for database, title in TITLES.items():
        for text, on_sent in (("", False), (", on_sent", True)):
            work, naive = Selecting("connector", database, on_sent), Selecting("naive", database, on_sent)
            quick = database == "postgresql"
            yield Case(f"select, {title} → JSON{text}", work, Selecting("limit"), naive, 0.7, quick=quick)


def waiting() -> Iterator[Case]:
    for rate, share, name in (
        (1000, 0.5, "1,000 messages/s, median"),
        (1000, 0.99, "1,000 messages/s, 99 of 100"),
        (10, 0.5, "lone message"),
    ):
        work = Waiting("connector", rate, share)
        yield Case(f"latency, {name}", work, replace(work, how="limit"), None, unit="ms")


def calling() -> Iterator[Case]:
    for latency in (150, 50, 0):
        naive = Calling("naive", latency, 1)
        for batch in (200, 20, 1):
            work = Calling("connector", latency, batch)
            main = (latency, batch) == (150, 200)
            target = 0.9 if main else None
            name = f"cases, {latency} ms a call, {batch} a call"
            limit = replace(work, how="limit")
            yield Case(name, work, limit, naive, target, quick=main, bound=work.bound)
            if (latency, batch) == (0, 200):  # of each message the limit makes a Case, the connector one of each alarm
                yield Case("cases, 0 ms a call, repeats of 20 alarms", Ringing(batch), limit, naive)
    work = Calling("connector", 150, lookups=True)
    naive = Calling("naive", 150, 1)
    limit = replace(work, how="limit")
    yield Case("cases, 150 ms a call, 200 a call, lookups", work, limit, naive, bound=work.bound)
    both = Calling("connector", 150, divisions=2)
    one = Calling("connector", 150)
    limit = replace(both, how="limit")
    name = "cases, two divisions at 150 ms, 200 a call"
    yield Case(name, both, limit, one, beside="one division", bound=both.bound)


def starting() -> Iterator[Case]:
    click = Ending(("-c", "import click"))
    for command in ("dbconnector", "sfconnector"):
        yield Case(f"{command} --help", Ending((command, "--help")), click, None, 0.33, unit="ms")
    yield Case("subscribe, start to first row", First("connector"), First("limit"), None, unit="ms")
    yield Case("receive, one message a process", Receiving("connector"), Receiving("limit"), None, unit="ms")


CASES: list[Case] = [
    *inserting(),
    *shapes(),
    *twofold(),
    *beside_node(),
    *waiting(),
    *selecting(),
    *calling(),
    *starting(),
]
