"""Salesforce over HTTP: log-in, calls, and what its answers mean."""
