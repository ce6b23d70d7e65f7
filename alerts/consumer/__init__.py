"""The detection consumer: journal to detector to incidents, in one transaction a batch."""
