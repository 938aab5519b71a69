"""Makes Salesforce Cases out of device messages."""
