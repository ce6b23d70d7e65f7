"""Notices: wording, pictures, the outbox, and handing them to a channel."""
