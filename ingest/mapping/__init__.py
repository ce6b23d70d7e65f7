"""Mappings: tables in the configuration that describe formats no built-in decoder knows.

A mapping is data: it contains no expression, template, script or regular expression, and every list
and string in it is bounded. `schema` defines what may be written, `decoder` compiles it to a
`Decoder`, `examples` checks it against its own examples, and `suggest` proposes one from samples
for a person to approve.
"""
