"""What a target of fuzzing is."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Check = Callable[[bytes], str]


@dataclass(frozen=True)
class Target:
    name: str
    check: Check
    seeds: Sequence[bytes]
    tokens: Sequence[bytes] = field(default=())


def same_kind(error: BaseException) -> str:
    """Return what two failures of one kind share: where they were raised. Texts repeat parts of the input."""
    cause = error.__cause__ or error
    *_, place = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in traceback.extract_tb(cause.__traceback__)[-1:]]
    return f"{type(cause).__name__} {getattr(cause, 'code', '')} {Path(place.filename).name} {place.lineno} {lines}"
