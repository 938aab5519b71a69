"""`init`: a configuration to start from. A connector has a table of questions and a template; the answers are put into
it, the connector itself proves the result, and a sample message and tests are written next to it."""
