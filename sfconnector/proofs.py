"""What `check`, `explain` and `test` of sfconnector ask. Imports nothing before it is asked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from connectorlib.preflight.commands import Proofs

if TYPE_CHECKING:
    from connectorlib.preflight.parallel import Group
    from connectorlib.preflight.sample import Sample
    from sfconnector.explain import Offline
    from sfconnector.settings import SfConfig


def _load(file: str) -> "SfConfig":
    from sfconnector.preflight import load  # late, see the module

    return load(file)


def _plan(config: "SfConfig", sample: "Sample | None", management_url: str | None) -> "Sequence[Group]":
    from sfconnector.preflight import plan  # late: HTTP and AMQP libraries are not needed for --help

    return plan(config, sample, management_url)


def _offline(file: str) -> "Offline":
    from sfconnector.explain import opened  # late: formats and expressions are not needed for --help

    return opened(file)


PROOFS = Proofs(
    program="sfconnector",
    file="config.json",
    becomes="Cases",
    offline=_offline,
    load=_load,
    plan=_plan,
    systems="broker and Salesforce",
    remark="Each division logs in once, which Salesforce's login history shows.",
)
