"""Routing of incidents by labels, after Prometheus Alertmanager: matchers, routes, muting. Pure."""
