"""The logs of all pods of a job as one: merge decides the order, read and follow ask the cluster."""
