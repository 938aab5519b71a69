"""What the tests of the pump share."""

import pytest

from tests.services.rabbitmq import Vhost


@pytest.fixture
def queue(vhost: Vhost) -> Vhost:
    vhost.declare_queue("q")
    vhost.declare_queue("dead-letter")
    vhost.declare_exchange("dead-letter", "topic")
    with vhost.channel() as channel:
        channel.queue_bind("dead-letter", "dead-letter", "#")
    return vhost
