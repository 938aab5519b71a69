"""What an org needs for a configuration: as a project for Salesforce's own command line, and tried on a real org."""
