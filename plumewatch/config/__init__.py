"""The configuration that a school writes: sections, checks, and what the parts are given."""
