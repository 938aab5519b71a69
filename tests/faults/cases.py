"""An arena with Salesforce at its far side: sfconnector makes Cases in the sandbox; and what can go wrong there."""

import json
import random
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.arena import BATCH, QUEUE, Arena
from tests.faults.checker import Row, Sent
from tests.faults.nemesis import COMMON, Fault, at_hook, collect, last
from tests.faults.producer import WORDS, Make
from tests.services.proxy import End, Proxy
from tests.services.rabbitmq import Vhost
from tests.services.salesforce import CLIENT_SECRET, PASSWORD, Org

DIVISION = "field-service"


def case_message(id: int, chance: random.Random, bad: float = 0.0) -> tuple[bytes, Sent]:
    """Return the body of a message that becomes a Case, and what must become of it."""
    text = " ".join(chance.choices(WORDS, k=chance.randint(1, 12)))
    body: dict[str, Any] = {"id": id, "device": f"d{id % 7}", "text": text}
    kind = chance.choice(("cut off", "too long", "no address")) if chance.random() < bad else ""
    if kind == "too long":
        body["device"] = "d" * 300
    elif kind == "no address":
        body["email"] = "no address"
    whole = json.dumps(body, ensure_ascii=False).encode()
    return whole[:-5] if kind == "cut off" else whole, Sent(text, bad=bool(kind), key=body["device"])


class CaseArena(Arena):
    #: For how long messages are collected.
    wait_ms = 5

    def __init__(self, folder: Path, vhost: Vhost, org: Org, *, make: Make = case_message, **more: Any) -> None:
        """`more` as an arena takes it."""
        super().__init__(folder, vhost, Proxy(org.server.host, org.server.port), make=make, **more)
        self.org = org
        self.file = folder / "config.json"

    def case(self) -> dict[str, Any]:
        """Return the section of the configuration."""
        case: dict[str, Any] = {
            "mapping": {
                "Subject": "Pump {device}",
                "Description": "text",
                "SuppliedEmail": "email",
            }
        }
        if self.once:
            case["external_id"] = {"field": "Message_Id__c", "value": "$message_id"}
        return case

    def prepare(self) -> None:
        division = {
            # The address of the link: that is also where calls go, for the sandbox tells where it was asked.
            "salesforce": self.org.login(DIVISION) | {"login_url": f"http://{self.far_link.host}:{self.far_link.port}"},
            "source": {"queue": QUEUE},
            "case": self.case(),
            "batch": {"size": BATCH, "wait_ms": self.wait_ms},
            "retry": {"attempts": 3, "first_ms": 20, "max_s": 1},
        }
        config = {"tenant": {"amqp": self.broker_config()}, "divisions": {DIVISION: division}}
        self.file.write_text(json.dumps(config, indent=2))

    def command(self) -> Sequence[str]:
        return "sfconnector", "-i", str(self.file)

    def written(self) -> int:
        return len(self.org.cases())

    def rows(self) -> list[Row]:
        return [
            Row(int(case["Message_Id__c"].partition("-")[2]), str(case["Description"])) for case in self.org.cases()
        ]

    def secrets(self) -> list[str]:
        return [*super().secrets(), PASSWORD, CLIENT_SECRET]


#: Those of this module.
SALESFORCE: list[Fault] = []
fault = partial(collect, SALESFORCE)
#: The calls that make Cases.
CREATE = {"path": "/composite"}


@fault("F1", "killed after Salesforce has answered, before the acknowledgement")
def kill_after_answer(world: CaseArena) -> None:
    at_hook(world, "after-cases")


def _spoil(world: CaseArena, **action: Any) -> None:
    world.org.fault(match=CREATE, times=world.chance.randint(1, 4), **action)
    last(world, 2, 2)
    world.org.no_faults()


@fault("F23", "answers 503")
def unavailable(world: CaseArena) -> None:
    world.org.maintenance()
    last(world, 1, 4)
    world.org.maintenance("")


@fault("F23", "no API calls left for today")
def no_calls_left(world: CaseArena) -> None:
    world.org.limit(maximum=1000, used=1000)
    last(world, 1, 4)
    world.org.limit(maximum=1_000_000, used=0)
    for worker in world.workers:
        worker.signal(signal.SIGUSR1)  # by itself it asks again after five minutes


@fault("F23", "all sessions ended")
def expire(world: CaseArena) -> None:
    world.org.expire_tokens()
    last(world, 0, 0.3)
    world.org.expire_tokens()  # not a third time: two new tokens that one call cannot use are a matter for a person
    last(world, 1, 1)


@fault("F23", "made, and the answer lost")
def drop_after_commit(world: CaseArena) -> None:
    _spoil(world, drop_after_commit=True, reset=world.chance.random() < 0.5)


@fault("F23", "an error 500 for what was done all the same")
def done_all_the_same(world: CaseArena) -> None:
    _spoil(world, status=500, html="<h1>oops</h1>", commit=True)


@fault("F23", "an answer cut off in the middle")
def truncated(world: CaseArena) -> None:
    _spoil(world, truncate=world.chance.randint(1, 500))


@fault("F23", "an answer that comes in drops")
def slow_body(world: CaseArena) -> None:
    _spoil(world, slow_body_ms=world.chance.randint(10, 200))


@fault("F23", "link to Salesforce reset")
def reset(world: CaseArena) -> None:
    for _ in range(5):
        world.far_link.cut(End.RST)
        last(world, 0, 0.5)


@fault("F23", "Salesforce cannot be reached")
def refuse(world: CaseArena) -> None:
    world.far_link.refuse()
    last(world, 1, 5)
    world.far_link.heal()


@fault("F23", "link to Salesforce cut off in the middle of an answer")
def truncated_link(world: CaseArena) -> None:
    world.far_link.to_client.left = world.chance.randint(1, 20_000)
    last(world, 2, 2)
    world.far_link.heal()


#: All that can happen to sfconnector; the time of day matters to its log-ins, and to nothing else that is tried here.
FAULTS = [*(each for each in COMMON if each.number != "F21"), *SALESFORCE]
