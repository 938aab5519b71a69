"""The commands that are installed, by name."""

from collections.abc import Mapping

import click

from dbconnector import cli as dbconnector
from deadletterqueue import cli as deadletters
from sfconnector import cli as sfconnector

PROGRAMS: Mapping[str, click.Group] = {
    "dbconnector": dbconnector.main,
    "sfconnector": sfconnector.main,
    "deadletter-queue": deadletters.main,
}
