"""What a running connector tells about itself: its status, its health, its metrics, over HTTP.

The work never waits for any of it: a batch is told in one call, everything else is read when somebody asks.
"""
