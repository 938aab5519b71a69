"""`init`: a configuration to start from, after a few questions.

`questions` asks, on a terminal or through options; a connector makes the configuration; `writing` proves it, writes it
with a sample message and tests beside it, and says what to do next.
"""
