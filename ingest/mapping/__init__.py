"""Mappings: tables in the configuration that describe formats without a built-in decoder.

A mapping is only data: it contains no expressions, templates, scripts or regular expressions, and
the size of every list and string in it is limited. `schema` defines the tables, `decoder` compiles
a mapping to a `Decoder`, `examples` tests it with the examples it contains, and `frames` proposes a
mapping, based on samples, for a person to approve.
"""
