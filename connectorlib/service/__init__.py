"""The process around the work: signals, systemd, logs, the command line, HTTP."""
