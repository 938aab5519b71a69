"""Whether a message could become a Case, asked without Salesforce.

What only the org knows (its fields, what a lookup finds, its rules) is not checked.
"""

from collections.abc import Callable

from connectorlib.config.document import open_document
from connectorlib.errors import Failed
from connectorlib.messages import Delivery
from sfconnector import config
from sfconnector.lookups import Answer, Lookup
from sfconnector.mapping import CaseMapper
from sfconnector.searches import Key
from sfconnector.settings import Division, SfConfig
from sfconnector.sharing import Routes

#: What every lookup finds: an id as Salesforce writes them.
_ANY_ID = "001000000000000AAA"


def checker(file: str) -> Callable[[Delivery], list[str]] | None:
    """Given a configuration file, return what tells the problems of a message; None if it is not sfconnector's.
    Raise ConfigurationError for mistakes in it."""
    if "divisions" not in open_document(file, {}, resolve_secrets=False).data:
        return None
    return _Checker(config.load(file, resolve_secrets=False)).problems


class _Found:
    """Answers every lookup."""

    def answer(self, lookup: Lookup, key: Key) -> Answer:
        return _ANY_ID


class _Checker:
    def __init__(self, settings: SfConfig) -> None:
        self._divisions = settings.divisions
        self._mappers = {
            division.name: CaseMapper(division.case, division.format, division.limits)
            for division in settings.divisions
        }

    def problems(self, delivery: Delivery) -> list[str]:
        """Return what would dead-letter this message again."""
        try:
            mapper = self._mappers[self._division(delivery).name]
            for decoded in mapper.records(delivery):
                mapper.case(decoded, _Found())
        except Failed as failed:
            return [str(failed)]
        except LookupError as error:
            return [str(error.args[0])]
        return []

    def _division(self, delivery: Delivery) -> Division:
        """Return whose message it is. Raise LookupError if nobody takes from its queue, Failed if no `match` fits."""
        sharing = [division for division in self._divisions if division.source.queue == delivery.queue]
        if not sharing:
            raise LookupError(f"no division takes messages from queue {delivery.queue!r}")
        return sharing[0] if len(sharing) == 1 else sharing[Routes(sharing).of(delivery)]
