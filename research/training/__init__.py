"""Train the detector's model: simulate, collect lessons, fit, assemble.

Run as ``make train``. `air` and `recordings` provide readings, from which `lessons` collects
features. `examples` combines them into one table, and `forests` and `recurrent` are fitted to it.
`train` runs all of this and writes the model.

The service imports nothing from here. Only the functions that fit import torch and scikit-learn.
"""
