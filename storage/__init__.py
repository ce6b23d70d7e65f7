"""Durable storage: the journal, the state database and the time series."""
