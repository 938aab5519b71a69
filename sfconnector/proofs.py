"""What `check`, `explain` and `test` of sfconnector ask. Imports nothing before it is asked."""

from typing import TYPE_CHECKING

from connectorlib.proving import Proofs

if TYPE_CHECKING:
    from sfconnector.offline import Offline


def _offline(file: str) -> "Offline":
    from sfconnector.offline import opened  # late: formats and expressions are not needed for --help

    return opened(file)


PROOFS = Proofs(program="sfconnector", becomes="Cases", offline=_offline)
