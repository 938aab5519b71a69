"""subscribeNInsert: everything that comes is written, for ever, in batches."""

import signal

from tests.e2e.conftest import EACH_DRIVER, Connector, reading
from tests.services.waiting import eventually


def test_every_message_becomes_a_row(connector: Connector) -> None:
    connector.configure()
    with connector.subscribed():
        connector.publish(*[reading(n) for n in range(1, 1001)])
        assert eventually(lambda: connector.database.count("reading") == 1000)
    assert connector.vhost.depth("readings") == 0
    assert connector.dead() == []


@EACH_DRIVER
def test_a_batch_of_500_with_3_bad_messages_leaves_497_rows_and_3_dead_letters(connector: Connector) -> None:
    connector.configure()
    connector.vhost.declare_queue("readings")
    bodies = [reading(n) for n in range(1, 501)]
    bodies[10], bodies[250], bodies[499] = reading(11, value=5000), b'{"id": 251,', reading(500, device=None)
    connector.publish(*bodies)
    with connector.subscribed():
        assert eventually(lambda: connector.database.count("reading") == 497)
        assert eventually(lambda: connector.vhost.exists("dead-letter") and connector.vhost.depth("dead-letter") == 3)
    assert connector.vhost.depth("readings") == 0
    headers = [headers for _, headers in connector.dead()]
    by_code = {header["dead-code"]: header for header in headers}
    assert len(by_code) >= 2
    assert "not-decodable" in by_code
    refused = [header for header in headers if header["dead-code"] != "not-decodable"]
    assert {header["dead-detail"] for header in refused} == {"write[0]"}
    expected = {"postgresql": {"23514", "23502"}, "mariadb": {"23000"}, "sqlite": {"HY000/19"}}
    assert {header["dead-code"].split("/1048")[0] for header in refused} <= expected[connector.database.kind] | {
        "23000/4025"
    }


def test_sigterm_in_mid_batch_loses_and_doubles_nothing(connector: Connector) -> None:
    connector.configure()
    connector.vhost.declare_queue("readings")
    connector.publish(*[reading(n) for n in range(1, 5001)])
    with connector.subscribed() as running:
        assert eventually(lambda: connector.database.count("reading") > 0)
        running.signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
    written = connector.database.count("reading")
    assert eventually(lambda: connector.vhost.depth("readings") == 5000 - written)
    with connector.subscribed():
        assert eventually(lambda: connector.database.count("reading") == 5000)
    assert connector.dead() == []
