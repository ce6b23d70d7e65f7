"""Detection benchmark: our detector beside every published rule and two learned references.

Run as ``python benchmarks/bench_detection.py``; ``--help`` lists the options. One idea a module:

- `worlds`: test worlds with their truth, from seeds that training never uses, kept on disk;
- `scoring`: what counts as found, as false, as late; pure functions;
- `peers`: the published rules;
- `learned`: an anomaly forest and a boosted classifier, trained on training seeds;
- `ours`: the product's detector, fed as production feeds it;
- `explain`: plots of the worst misses and false alarms;
- `real`: recordings of real sensors without vaping;
- `report`: table, document, plots.
"""
