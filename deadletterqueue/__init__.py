"""The workbench for dead letters: look at them, put them right, send them back, and make the queue that they lie in."""
