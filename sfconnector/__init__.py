"""Creates Salesforce Cases from device messages."""
