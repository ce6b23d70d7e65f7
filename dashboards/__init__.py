"""Grafana dashboards as code: `build` makes their JSON, and `grafana` pushes it."""
