"""Training of the detector's model: simulate, collect lessons, fit, assemble.

Run as ``make train``. `air` and `recordings` become `lessons`, these `examples`, of which `forests`
and `recurrent` are fitted and `parts` makes a model.

Nothing here is imported at run time. torch and scikit-learn are imported by the functions that fit.
"""
