"""The file in which `edit` keeps each original before its changed message is sent."""

import os
from datetime import UTC, datetime
from typing import IO

from connectorlib.errors import Failed, Failure, Kind
from deadletterqueue.jsonl import line_of
from deadletterqueue.letter import Letter
from deadletterqueue.terminal import json_text


def new_name() -> str:
    """Return a name for the file of one run."""
    return f"originals-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.jsonl"


class Originals:
    """Appends letters to a file that `import` reads. The file is created, for its owner only, for the first one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._file: IO[str] | None = None

    @property
    def written(self) -> bool:
        """Whether there is anything in it."""
        return self._file is not None

    def keep(self, letter: Letter) -> None:
        """Append a letter. Raise Failed if that is impossible."""
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                self._file = open(os.open(self.name, flags, 0o600), "w", encoding="utf-8")  # noqa: SIM115  # see close
            self._file.write(json_text(line_of(letter.delivery)) + "\n")
            self._file.flush()
        except OSError as error:
            text = f"the originals cannot be written to {self.name}: {error.strerror}; --originals names another place"
            raise Failed(Failure(Kind.CONFIGURATION, "configuration", text)) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
