"""The service's detector on many cores and machines, and over years of history.

The service imports nothing from this package. Only `scale.spark` needs the extra
``plumewatch[scale]``.
"""
