"""Reports an analyst can defend: figures, tables, files."""
