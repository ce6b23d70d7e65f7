"""Records for the time series: incidents, events and sensor conditions."""
