"""Train and evaluate the detector's model; not shipped, and no shipped code imports it.

- `worlds`: simulated restrooms whose physics differ from the demo simulator's;
- `training`: creates the model file from all worlds and real recordings;
- `benchmark`: evaluates the detector and published rules in every world and on recordings;
- ``history/``: how the model was developed, and what was tried without success.
"""
