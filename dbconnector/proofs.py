"""What `check`, `explain` and `test` of dbconnector ask. Imports nothing before it is asked."""

from typing import TYPE_CHECKING

from connectorlib.proving import Proofs

if TYPE_CHECKING:
    from dbconnector.offline import Offline


def _offline(file: str) -> "Offline":
    from dbconnector.offline import opened  # late: formats and expressions are not needed for --help

    return opened(file)


PROOFS = Proofs(program="dbconnector", becomes="rows", offline=_offline)
