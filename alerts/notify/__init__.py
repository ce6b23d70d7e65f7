"""Notices: write them, draw their pictures, queue them in the outbox, and send them."""
