"""Escalation: who is notified next when nobody answers, and when."""
