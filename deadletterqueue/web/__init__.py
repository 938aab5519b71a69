"""The dead-letter queue as a page: `deadletter-queue serve`. Rendered on the server, without scripts.

Rule: what a message holds is hostile. HTML comes from the templates only, which escape every value. werkzeug is
imported only here.
"""
