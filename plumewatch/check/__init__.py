"""The checks of `plumewatch check`, one module for each part of a site.

Each returns `CheckResult`: what it saw and, if something is wrong, what to do. Nothing is changed
and no notice is sent.
"""
