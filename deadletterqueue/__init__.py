"""The workbench for dead letters: inspect them, correct them, send them back, and set up their queue."""
