"""Imports of a foreign library that the connectors do without: they would take a large part of a start.

Nobody else notices: who imports such a module outside of the block has it as usual.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Postponed(ModuleType):
    """What a library has instead of the module, which is imported when an attribute of it is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:  # another thread wants it while the block is open
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def postponed(name: str) -> Iterator[None]:
    """Let `import <name>` import nothing before the module is used, unless it is imported already."""
    with _instead(_Postponed(name)):
        yield


@contextmanager
def left_out(name: str, *attributes: str) -> Iterator[None]:
    """Let `from <name> import <attribute>` import None, unless the module is imported already."""
    module = ModuleType(name)
    vars(module).update(dict.fromkeys(attributes))
    with _instead(module):
        yield


@contextmanager
def _instead(module: ModuleType) -> Iterator[None]:
    name = module.__name__
    if name not in sys.modules:
        sys.modules[name] = module
    try:
        yield
    finally:
        if sys.modules.get(name) is module:
            del sys.modules[name]
