"""Readings in files: recordings, import and export."""
