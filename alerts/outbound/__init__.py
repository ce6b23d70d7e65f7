"""What goes out to other systems: room states, webhooks, CAP messages, series, annotations."""
