"""Records for the time series: incidents, events and the health of sensors."""
