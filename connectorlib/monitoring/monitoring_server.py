"""The monitoring port: served in a few daemon threads, for which the work never waits.

Nobody can hold it for long: each connection carries one request and ends after ten seconds. Whatever goes wrong all the
same, a port that is taken included, is logged and costs the connector nothing.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from connectorlib.monitoring.monitor import Monitor
from connectorlib.monitoring.routes import Routes
from connectorlib.service import logs
from connectorlib.service.http_server import Server
from connectorlib.shared_settings import Monitoring

logger = logging.getLogger(__name__)

#: Requests that are answered at a time; further ones get a 503.
THREADS = 8
#: Seconds from the first byte of a connection to the last, whatever the client does.
CONNECTION_S = 10.0
#: Seconds between two attempts to bind a port that another process has.
AGAIN_S = 10.0


@contextmanager
def serving(settings: Monitoring, monitor: Monitor) -> Iterator[None]:
    """Answer on the monitoring port until the end of the block. Never raises: without the port all else goes on."""
    stop = threading.Event()
    thread = threading.Thread(target=_serve, args=(settings, monitor, stop), name="monitoring", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2.0)


def _serve(settings: Monitoring, monitor: Monitor, stop: threading.Event) -> None:
    """Bind, as soon as the port is free, and serve until `stop` is set."""
    try:
        routes = Routes(monitor)
        while not stop.is_set():
            server = Server(
                routes,
                settings.host,
                settings.port,
                threads=THREADS,
                largest_body=0,
                keep_alive=False,
                connection_seconds=CONNECTION_S,
                on_tick=monitor.tick,
            )
            if _is_bound(server, settings):
                server.serve(stop)
            else:
                stop.wait(AGAIN_S)
    except Exception:  # any: the connector goes on without it
        logger.exception("bug: the monitoring port has ended", extra={"event": "bug"})


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
