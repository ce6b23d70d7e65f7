"""What goes out to other systems: room states, webhooks, series, annotations."""
