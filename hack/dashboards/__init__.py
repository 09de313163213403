"""Grafana dashboards, written in Python: `make dashboards` makes the JSON that the chart carries."""
