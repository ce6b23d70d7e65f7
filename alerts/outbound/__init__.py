"""Records written to the time series: incidents, events, conditions of sensors."""
