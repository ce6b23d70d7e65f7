"""Faults and attacks: at the sensor, on the wire, and malformed payloads."""
