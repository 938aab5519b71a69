"""What `check`, `explain` and `test` of dbconnector ask. Imports nothing before it is asked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from connectorlib.preflight.commands import Proofs

if TYPE_CHECKING:
    from connectorlib.preflight.parallel import Group
    from connectorlib.preflight.sample import Sample
    from dbconnector.explain import Offline
    from dbconnector.settings import DbConfig


def _load(file: str) -> "DbConfig":
    from dbconnector import config  # late, see the module

    return config.load(file)


def _plan(config: "DbConfig", sample: "Sample | None", management_url: str | None) -> "Sequence[Group]":
    from dbconnector.preflight import plan  # late: pyodbc and pika are not needed for --help

    return plan(config, sample, management_url)


def _offline(file: str) -> "Offline":
    from dbconnector.explain import opened  # late: formats and expressions are not needed for --help

    return opened(file)


PROOFS = Proofs(
    program="dbconnector",
    file="db.config",
    becomes="rows",
    offline=_offline,
    load=_load,
    plan=_plan,
    systems="broker and database",
    remark="Statements are explained by the database and not run.",
)
