"""Creates Salesforce Cases from device messages."""

from connectorlib.version import VERSION as __version__

__all__ = ["__version__"]
