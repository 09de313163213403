"""A job on this machine: the launchers that a cluster would start, and the operator's part played here."""
