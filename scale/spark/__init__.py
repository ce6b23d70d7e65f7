"""Modules that need Spark: the extra ``plumewatch[scale]`` and Java 17 or 21."""
