"""Reports with defensible numbers: figures, tables, files."""
