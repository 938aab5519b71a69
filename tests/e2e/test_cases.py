"""From messages to Cases, by the installed command."""

from pathlib import Path

import pytest

from tests.e2e.cases import Divisions, alarm
from tests.services.rabbitmq import Vhost
from tests.services.salesforce import Org


@pytest.fixture
def divisions(tmp_path: Path, vhost: Vhost, salesforce: Org) -> Divisions:
    return Divisions(tmp_path, vhost, salesforce)


def test_a_message_becomes_a_case_of_the_divisions_user(divisions):
    queue = divisions.division()
    with divisions.started():
        divisions.publish(queue, [alarm(7)])
        (case,) = divisions.cases(1)
    assert case["Subject"] == "Pump p-7: overheated"
    assert divisions.vhost.depth(queue) == 0
