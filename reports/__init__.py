"""Reports: figures, tables and files."""
