"""The checks of `plumewatch check`, one module per part of a site.

Each yields `CheckResult`s: what it found, and what to do if something is wrong. Checks change
nothing and send no notices.
"""
