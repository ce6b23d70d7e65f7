"""The pages of the staff page, one module a group."""
