"""Channels that deliver notices: apprise, a recording one for tests, and reachability checks."""
