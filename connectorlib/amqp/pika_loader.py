"""Imports pika without asyncio, which it needs for an adapter that the connectors do not use."""

from connectorlib.service.postponed_imports import postponed

with postponed("asyncio"):
    import pika

__all__ = ["pika"]
