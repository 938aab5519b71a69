"""What both connectors need: configuration, the broker, the pump, formats, value expressions, dead letters.

Imports neither sfconnector nor dbconnector.
"""

from connectorlib.version import VERSION as __version__

__all__ = ["__version__"]
