"""The flood brake for alarms: new Cases and changed ones are counted apart, and what only counts passes neither."""

from dataclasses import replace
from typing import TypeVar

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.pipeline.flood import Brake
from sfconnector.salesforce.error_codes import DUPLICATES

Answer = TypeVar("Answer")


class AlarmBrake:
    """Used by one thread; `brake` is shared by all sinks of the division."""

    def __init__(self, brake: Brake) -> None:
        self._brake = brake

    def weighed(self, delivery: Delivery | None, place: str, answer: Answer | Failure) -> Answer | Failure:
        """Return the answer to the write for a message, or the flood that a refusal belongs to. None: it was written
        without a message."""
        if delivery is None:
            return answer
        if not isinstance(answer, Failure):
            self._brake.passed([place], [delivery])
            return answer
        if answer.kind is not Kind.REJECT or answer.code in DUPLICATES:
            return answer
        return self._brake.refused(delivery, answer) or answer

    def refused(self, delivery: Delivery, place: str, failed: Failed) -> Failed:
        """Return what to raise for a message that cannot be mapped, which counts if the org is why."""
        if not failed.failure.by_target:
            return failed
        refusal = replace(failed.failure, place=place)
        return Failed(self._brake.refused(delivery, refusal) or refusal)
