"""The sections of a configuration, several per file: keys, types, bounds and defaults.

The text below a key becomes its entry in docs/settings.md.
"""
