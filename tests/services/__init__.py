"""Private RabbitMQ, PostgreSQL, MariaDB and SQLite for one run, from the system's binaries; the demo uses them too.

Everything lives in one temporary folder, listens on loopback only, on free ports, and ends with the run.
"""
