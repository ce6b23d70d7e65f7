"""Training of the detector's model: simulate, collect lessons, fit, put together.

Run as ``make train``; ``python benchmarks/train_detector.py --help`` lists the options. One idea a
module:

- `air`: readings with their truth from every restroom world, kept on disk;
- `recordings`: simulated puffs on real recordings, and the recordings as they are;
- `lessons`: what the detector sees of that air, labeled by the truth, kept on disk;
- `examples`: lessons as one table, in which every world weighs the same;
- `forests`: boosted trees, and their export;
- `recurrent`: the recurrent network in torch, and its export;
- `parts`: the fitted parts of a model, kept on disk, and the model made of them.

Nothing here is imported at run time. torch and scikit-learn are imported by the functions that fit.
"""
