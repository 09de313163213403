"""How a job in a cluster is, honestly: observe asks, why decides, tell says."""
