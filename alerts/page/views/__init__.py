"""The pages of the staff page, one module per group."""
