"""What the tests of bad days share: a load, the pause line, and what must be true when the day is over."""

import re

from tests.e2e.conftest import Connector, Running, reading
from tests.services.waiting import eventually

ALL = range(1, 41)
INBOX = (
    "CREATE TABLE inbox (consumer varchar(255), message_key char(64), applied_at timestamp DEFAULT CURRENT_TIMESTAMP, "
    "PRIMARY KEY (consumer, message_key))"
)
#: Without it what was written, but whose commit was not answered or whose acknowledgement did not arrive, would come
#: again and be refused as a duplicate.
ONCE = {"table": "inbox", "key": "id"}
#: What a person called at night reads first.
PAUSE = re.compile(
    r"PAUSED flow=readings since=\d\d:\d\d:\d\d cause=(\S+) \"(.+)\" held=\d+ waiting=\S+ next_try=\d+s do=\"(.+)\"$"
)


def pause_of(running: Running) -> re.Match[str]:
    """Wait for a pause; return the parts of its last line, which must have all of them."""
    log = running.wait_for(" PAUSED ", 30)
    line = [line for line in log.splitlines() if " PAUSED " in line][-1]
    match = PAUSE.search(line)
    assert match, line
    return match


def written(connector: Connector) -> list[int]:
    return [id for (id,) in connector.database.rows("SELECT id FROM reading ORDER BY id")]


def expect_all(connector: Connector, ids: range = ALL, timeout: float = 60.0) -> None:
    """Wait until just these rows are there; nothing may be dead, and nothing left."""
    eventually(lambda: written(connector) == list(ids), timeout, what=f"rows {ids}")
    assert connector.dead() == []
    eventually(lambda: connector.vhost.depth("readings") == 0)


def load(connector: Connector, ids: range = ALL) -> None:
    limits = {"x-dead-letter-exchange": "dead-letter", "x-delivery-limit": 100}
    connector.vhost.declare_queue("readings", arguments=limits)
    connector.publish(*[reading(n) for n in ids])
