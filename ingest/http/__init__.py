"""Readings over HTTP: devices that post, and devices that are asked."""
