"""The commands for history and scale."""
