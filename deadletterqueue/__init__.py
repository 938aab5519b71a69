"""The workbench for dead letters: inspect them, correct them, send them back, and set up their queue."""

from connectorlib.version import VERSION as __version__

__all__ = ["__version__"]
