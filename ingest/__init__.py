"""From a sensor's message to an accepted reading: decode, validate, deduplicate, count."""
