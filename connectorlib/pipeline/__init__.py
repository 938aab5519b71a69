"""A message's way through a connector: from the consumer through a sink to its settlement."""
