"""The sections of a configuration, one file each: keys, types, bounds and defaults.

The text below a key is its entry in docs/settings.md.
"""
