"""Which readings were stored before: the latest in memory, older ones in the journal."""
