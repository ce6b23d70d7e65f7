"""Declarative mappings: formats of devices that no decoder of the table knows, from configuration.

A mapping is data: it holds no expression, template, script or regular expression, and every list
and text in it has a bound. `schema` says what may be written, `decoder` makes a `Decoder` of it,
`examples` holds it to its own examples, `suggest` proposes one from samples for a person to
approve.
"""
