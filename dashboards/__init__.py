"""Grafana dashboards as code, over the measurements of an InfluxDB of the site.

`dashboards.build.DASHBOARDS` lists them; `build` makes their JSON, which is committed under `json/`
and read by Grafana's file provisioning; `dashboards.grafana` pushes it through Grafana's HTTP API.
"""
