"""The status, health and metrics of a running connector, over HTTP.

The work never waits for any of it: a batch is reported in one call, everything else is read when it is requested.
"""
