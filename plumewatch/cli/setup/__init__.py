"""`plumewatch setup`: set up the service for the sensors that publish on a broker.

From answers, given interactively or in a file, and the messages on the broker, it makes a
configuration and a broker account for every device. Then it sends everyone a test notice and runs
the checks.
"""
