"""The service: composition of all parts, supervision, health, maintenance."""
