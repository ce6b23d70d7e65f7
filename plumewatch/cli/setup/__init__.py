"""`plumewatch setup`: from a broker on which sensors publish to a service that runs.

Answers, from a person or a file, and the messages on the broker become a configuration, an account
with rights of its own for every device, a test notice to everybody, and a check.
"""
