"""One open Case per alarm, however often the device raises it."""
