"""From a job file to a job in a cluster: pack, plan, create."""
