"""Grafana dashboards as code: `build` makes their JSON, `grafana` pushes it."""
