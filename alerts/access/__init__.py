"""Access control: roles, passwords, sessions, rate limits and tokens.

Functions that take a connection never begin or commit a transaction. Passwords and tokens are
stored only as hashes.
"""
