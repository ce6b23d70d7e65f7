"""Deliver notices through ntfy, web push and Apprise, and check whether services are reachable."""
