"""Reports that an analyst can defend: figures, tables, files."""
