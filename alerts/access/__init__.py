"""Who may do what: roles, passwords, sessions, limits on guessing, and one-purpose tokens.

Functions on a connection never begin or commit, as in `repository`. What a person knows or
holds, a password, a cookie, the token in a notice, is stored as a hash alone.
"""
