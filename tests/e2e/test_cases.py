"""From messages to Cases, by the installed command."""

from tests.e2e.cases import alarm


def test_a_message_becomes_a_case_of_the_divisions_user(divisions):
    queue = divisions.division()
    with divisions.started():
        divisions.publish(queue, [alarm(7)])
        (case,) = divisions.cases(1)
    assert case["Subject"] == "Pump p-7: overheated"
    assert divisions.vhost.depth(queue) == 0
