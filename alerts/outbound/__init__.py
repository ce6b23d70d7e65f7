"""What goes out to the time series: incidents, events, conditions of sensors."""
