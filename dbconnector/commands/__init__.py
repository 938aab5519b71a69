"""One command each, from the configuration to the exit code."""
