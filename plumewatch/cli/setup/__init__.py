"""`plumewatch setup`: set up the service for the sensors that publish to a broker.

It uses answers (typed in or from a file) and the messages on the broker to write a configuration
and a broker account for every device. Then it can send everyone a test notice, and runs the checks.
"""
