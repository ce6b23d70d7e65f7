"""The same detector over many cores and machines, and over years of history.

Nothing of the service imports this package. It reads and judges Parquet with what the service has
anyway; `scale.spark` needs the extra ``plumewatch[scale]``.
"""
