"""A local Salesforce to try mappings and to test against: its org in memory, and an HTTP server around it."""
