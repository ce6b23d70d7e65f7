"""Device models: what a real sensor makes of the air at its inlet."""
