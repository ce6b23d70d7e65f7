"""Who may do what: roles, passwords, sessions, limits on guessing, and one-purpose tokens.

Functions on a connection never begin or commit. Passwords and tokens are stored as hashes alone.
"""
