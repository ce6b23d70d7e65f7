"""Access control: roles, passwords, sessions, rate limits and tokens.

Functions with a connection never begin or commit. Passwords and tokens are stored only as hashes.
"""
