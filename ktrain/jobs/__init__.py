"""Jobs that are in a cluster: find one, read its spec, reach its storage, ask its pods, pause and end it."""
