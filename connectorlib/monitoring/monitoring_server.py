"""The monitoring port: served in a few daemon threads, for which the work never waits.

Nobody can hold it for long: each connection carries one request and ends after ten seconds. Whatever goes wrong all the
same, a port that is taken included, is logged and costs the connector nothing.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from connectorlib.monitoring.monitor import Monitor
from connectorlib.monitoring.other_connectors import OtherConnectors
from connectorlib.monitoring.routes import LARGEST_FORM, Routes
from connectorlib.service import logs
from connectorlib.service.http_server import Server
from connectorlib.shared_settings import Monitoring

logger = logging.getLogger(__name__)

#: Requests that are answered at a time; further ones get a 503.
THREADS = 8
#: Seconds from the first byte of a connection to the last, whatever the client does.
CONNECTION_S = 10.0
#: Seconds between two looks at what the history keeps, and at other connectors.
LOOK_S = 10.0
#: Seconds between two attempts to bind a port that another process has.
AGAIN_S = 10.0


@contextmanager
def serving(settings: Monitoring, monitor: Monitor) -> Iterator[None]:
    """Answer on the monitoring port until the end of the block. Never raises: without the port all else goes on."""
    stop = threading.Event()
    others = OtherConnectors(settings.others)
    works = {
        "monitoring": partial(_serve, Routes(monitor, settings, others), settings, monitor, stop),
        "history": partial(_remember, monitor, stop),
        "others": partial(others.watch, stop, LOOK_S),
    }
    threads = [threading.Thread(target=_logged, args=each, name=each[0], daemon=True) for each in works.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(2.0)


def _logged(name: str, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:  # any: the connector goes on without it
        logger.exception("bug: the thread %s of the monitoring port has ended", name, extra={"event": "bug"})


def _remember(monitor: Monitor, stop: threading.Event) -> None:
    """Keep the history for the page, in a thread of its own: the broker may be slow to answer."""
    while not stop.wait(LOOK_S):
        monitor.remember()


def _serve(routes: Routes, settings: Monitoring, monitor: Monitor, stop: threading.Event) -> None:
    """Bind, as soon as the port is free, and serve until `stop` is set."""
    while not stop.is_set():
        server = Server(
            routes,
            settings.host,
            settings.port,
            threads=THREADS,
            largest_body=LARGEST_FORM,
            keep_alive=False,
            connection_seconds=CONNECTION_S,
            on_tick=monitor.tick,
        )
        if _is_bound(server, settings):
            server.serve(stop)
        else:
            stop.wait(AGAIN_S)


def _is_bound(server: Server, settings: Monitoring) -> bool:
    try:
        url = server.bind()
    except OSError as error:
        text = f"{error.strerror or error}: the monitoring port is off, everything else continues"
        logs.event(
            logger, logging.WARNING, "monitoring port unavailable", host=settings.host, port=settings.port, text=text
        )
        return False
    logs.event(logger, logging.INFO, "monitoring", url=f"{url}/")
    return True
