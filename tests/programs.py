"""The commands that are installed, by name."""

from collections.abc import Mapping

from connectorlib.service.lazy_group import LazyGroup
from dbconnector import cli as dbconnector
from deadletterqueue import cli as deadletters
from sfconnector import cli as sfconnector

PROGRAMS: Mapping[str, LazyGroup] = {
    "dbconnector": dbconnector.main,
    "sfconnector": sfconnector.main,
    "deadletter-queue": deadletters.main,
}
