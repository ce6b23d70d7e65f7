"""Device models: how a real sensor measures the air at its inlet."""
