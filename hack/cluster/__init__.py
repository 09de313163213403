"""A real Kubernetes cluster for the tests, on this machine, in seconds; see README.md beside this file."""
