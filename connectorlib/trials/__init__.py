"""Tests of a configuration: messages in, and what they have to become. Asks no network.

`file` reads them, `comparing` says what differs, `command` runs them. The connectors give their part of the schema and
the explanation of a message.
"""
