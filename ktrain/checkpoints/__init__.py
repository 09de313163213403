"""The format of a checkpoint, and what can be done with one without torch: read, verify, prune, sweep."""
