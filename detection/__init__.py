"""Detect events in restroom air, without clock or I/O; imports only `language` of this project."""
