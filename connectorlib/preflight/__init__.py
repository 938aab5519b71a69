"""The commands that prove a configuration: `check` against the live systems, `explain` and `test` without them.

A connector brings what it asks its own target, in its `preflight`, and what a message becomes, in its `explain`.
"""
