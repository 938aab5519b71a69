"""A whole process that logs in to the broker with tokens."""

import itertools
import re
import time

from tests.e2e.conftest import Connector, reading
from tests.services.token_server import token_server
from tests.services.waiting import eventually


def test_a_token_that_expires_in_mid_load_costs_no_message_and_no_pause(on_sqlite: Connector) -> None:
    numbers = itertools.count(1)
    with token_server() as tokens:
        # Renewed after 2.4 seconds; to the broker the first one ends after 8, and is refused within one more.
        tokens.life, tokens.grace = 3.0, 5.0
        on_sqlite.configure(broker={"username": None, "password": None, "token": tokens.config()})
        begun = time.monotonic()
        with on_sqlite.subscribed() as running:
            while time.monotonic() < begun + 12:
                # Each second one is a dead letter: RabbitMQ looks at rights when something is published.
                on_sqlite.publish(reading(next(numbers)), b"no JSON")
            count = next(numbers) - 1
            eventually(lambda: on_sqlite.database.rows("SELECT count(*) FROM reading") == [(count,)], 30)
            eventually(lambda: on_sqlite.vhost.depth("dead-letter") == count, 30)
            assert "PAUSED" not in running.log
            assert len(re.findall(" connected to ", running.log)) == 2
        assert tokens.tokens >= 4
        assert on_sqlite.database.rows("SELECT count(*) FROM reading") == [(count,)]
        assert "eyJ" not in running.log
