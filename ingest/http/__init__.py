"""Readings over HTTP, from devices that send them and devices that we poll."""
