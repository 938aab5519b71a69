"""A regular package, so that no installed distribution that ships a `tests` of its own can hide ours."""
