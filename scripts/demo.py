"""Both connectors at work: rows from one database into another, then alarms of devices that become Salesforce Cases.

Started by scripts/demo, which sets up what it needs. The broker is a private one on free ports, the databases are files
in a temporary folder, Salesforce is `sfconnector sandbox`; nothing is left of them.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the services are started as in the tests

from scripts import demo_cases, demo_weather
from scripts.demo_show import say
from tests.services.rabbitmq import RabbitMQ
from tests.services.salesforce import Salesforce
from tests.services.server import Run


def main() -> int:
    started = time.monotonic()
    with Run() as run:
        say("starting a private RabbitMQ node, and sfconnector sandbox, a Salesforce on this machine")
        node, salesforce = RabbitMQ(run), Salesforce(run)
        with ThreadPoolExecutor() as both:
            list(both.map(lambda server: server.start(), (node, salesforce)))
        with node.vhost() as vhost:
            weather = demo_weather.run(run.folder, vhost)
        with node.vhost() as vhost:
            cases = demo_cases.run(run.folder, vhost, salesforce)
        for server in (node, salesforce):
            server.discard()
    say(f"nothing is left running; it took {time.monotonic() - started:.0f} s")
    return 0 if weather and cases else 1


if __name__ == "__main__":
    sys.exit(main())
