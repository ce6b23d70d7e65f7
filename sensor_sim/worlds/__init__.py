"""Restroom worlds: independent physics of one subject, behind one interface."""
