"""A local Salesforce for trying mappings and for tests: an org in memory behind an HTTP server."""
