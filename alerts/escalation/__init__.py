"""Escalation: decide who is notified next if nobody responds, and when."""
