"""What is asked of the I/O thread is given up only when nothing comes any more."""

from collections.abc import Iterator

import pytest

from connectorlib.amqp.io_thread import IOThread
from connectorlib.errors import Failed


@pytest.fixture
def io() -> Iterator[IOThread]:
    io = IOThread("test", lambda: None)
    io.start()
    yield io
    assert io.stop(10)


def test_an_answer_behind_a_large_body_is_waited_for_as_long_as_the_body_comes(io: IOThread) -> None:
    received = iter([0, 1, 2, 3, 3])
    with pytest.raises(Failed, match=r"no answer to it within 0\.01 s"):
        io.ask(lambda future: None, 0.01, what="it", progress=lambda: next(received))
    assert list(received) == []


def test_an_answer_ends_the_wait(io: IOThread) -> None:
    assert io.ask(lambda future: future.set_result(7), 60, what="it") == 7
