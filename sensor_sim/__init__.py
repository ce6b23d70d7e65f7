"""A simulated school: restroom air, what happens in it, and the devices that watch it."""
