"""What `plumewatch check` looks at, a module for each part of a site.

Each yields a `Finding`: what was seen, and where something is wrong, what exactly to do about it.
Nothing is changed and no notice is sent.
"""
