"""Grafana dashboards as code, over the measurements of an InfluxDB.

`dashboards.build` makes their JSON, which is committed under `json/` for Grafana's file
provisioning; `dashboards.grafana` pushes it through Grafana's HTTP API.
"""
