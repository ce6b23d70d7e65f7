"""What goes out to other systems: room states, webhooks, CAP messages, series, annotations.

Nothing here is for or about people. Room states and webhooks leave out muted incidents.
"""
