"""The commands of history and scale."""
