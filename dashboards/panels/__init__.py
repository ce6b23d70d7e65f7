"""Panels with the conventions that all dashboards share, such as a text for an empty one."""
