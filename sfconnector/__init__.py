"""Creates Salesforce Cases from device messages."""

from connectorlib.version import VERSION as __version__

__all__ = ["__version__"]

#: How the status calls the last message that arrived in Salesforce.
LAST_SUCCESS = "last Case out"
