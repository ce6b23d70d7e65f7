"""The parts that need Spark: extra ``plumewatch[scale]``, Java 17 or 21."""
