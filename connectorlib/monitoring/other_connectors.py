"""What other processes say of themselves on their monitoring ports, so that one page shows them all."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from connectorlib.dataclass import dataclass
from connectorlib.monitoring.status_command import NoAnswer, ask
from connectorlib.shared_settings import Monitoring
from connectorlib.values.hosts import parse_host

#: How many are asked at a time.
AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class OtherConnector:
    """The last answer of another process: its name and conclusion, or why there is no answer."""

    address: str
    name: str
    conclusion: str
    good: bool


class OtherConnectors:
    """Asks the processes of a list, all at the same time; the page shows what they said last."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self.seen: Sequence[OtherConnector] = ()

    def look(self) -> None:
        """Ask them once. Takes as long as the slowest of them, at most `status_command.TIMEOUT_S` for each eight."""
        if self._addresses:
            with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="other") as workers:
                self.seen = list(workers.map(_seen, self._addresses))

    def watch(self, stop: threading.Event, every_s: float) -> None:
        """Ask them again and again until `stop` is set."""
        self.look()
        while self._addresses and not stop.wait(every_s):
            self.look()


def _seen(address: str) -> OtherConnector:
    host, port = parse_host(address)
    try:
        status = ask(Monitoring(host, port or Monitoring().port), None)
        name, conclusion = f"{status['connector']} {status['name']}", str(status["conclusion"])
        return OtherConnector(address, name, conclusion, not status["exit"])
    except NoAnswer as error:
        return OtherConnector(address, address, str(error), good=False)
    except (LookupError, TypeError):
        return OtherConnector(address, address, "what answers there is not a connector", good=False)
