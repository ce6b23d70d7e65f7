"""Train the detector's model: simulate, collect lessons, fit, assemble.

Run as ``make train``. `air` and `recordings` provide readings, from which `lessons` collects
features. `examples` combines them into one table, and `forests` and `recurrent` are fitted to it.
`train` runs all of this and writes the model.

Nothing here is imported at run time. torch and scikit-learn are imported by the functions that fit.
"""
