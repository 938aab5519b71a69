"""The time limit of an exchange: it is cut once that is over, whatever other exchanges are under way."""

import socket
import threading

from connectorlib.service.http_exchange import Deadlines, HttpExchange


def is_cut(deadlines: Deadlines, seconds: float, wait: float) -> bool:
    """Read from a server that says nothing; return whether reading has ended within `wait` seconds."""
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(wait)
        exchange = HttpExchange(seconds, "example.com", None)
        exchange.start(near)
        with deadlines.limiting(exchange):
            try:
                return near.recv(1) == b"" and exchange.timed_out
            except TimeoutError:
                return False


def test_each_exchange_has_its_own_limit_and_all_share_a_thread() -> None:
    deadlines = Deadlines()
    before = threading.active_count()
    with deadlines.limiting(HttpExchange(60, "example.com", None)):
        assert is_cut(deadlines, 0.05, wait=10)  # though the thread sleeps for a minute
        assert is_cut(deadlines, 0.05, wait=10)
        assert not is_cut(deadlines, 60, wait=0.1)
        assert threading.active_count() == before + 1
    assert is_cut(deadlines, 0.05, wait=10)  # when nothing was under way


def test_an_exchange_that_has_ended_is_not_cut() -> None:
    deadlines = Deadlines()
    ended = HttpExchange(0.05, "example.com", None)
    with deadlines.limiting(ended):
        pass
    assert is_cut(deadlines, 0.1, wait=10)  # the later of the two
    assert not ended.timed_out


def test_what_has_not_connected_yet_is_marked() -> None:
    deadlines = Deadlines()
    connecting = HttpExchange(0.01, "example.com", None)
    with deadlines.limiting(connecting):
        assert is_cut(deadlines, 0.05, wait=10)
    assert connecting.timed_out


def test_a_thread_that_is_gone_is_replaced() -> None:
    """As in a forked process."""
    deadlines = Deadlines()
    gone = threading.Thread(target=lambda: None)
    gone.start()
    gone.join()
    deadlines._thread = gone
    assert is_cut(deadlines, 0.05, wait=10)
