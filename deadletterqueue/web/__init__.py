"""The workbench as a page: `deadletter-queue serve`. Rendered here, without scripts; werkzeug is imported only here.

Rule: what a message holds is hostile. HTML is made by `html.html` alone, which escapes all that it is given.
"""
