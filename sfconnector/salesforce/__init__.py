"""Salesforce over HTTP: log-in, calls, and the meaning of the answers."""
