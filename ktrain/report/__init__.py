"""A page about a run: curves, attempts, and where the time went."""
