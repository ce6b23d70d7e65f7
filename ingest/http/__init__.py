"""Readings over HTTP, from devices that post and devices that are polled."""
