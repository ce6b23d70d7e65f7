"""A simulated school: restroom air, the sources in it, and the devices that measure it."""
