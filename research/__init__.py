"""Training and evaluation of the detector's model: not shipped, and imported by nothing shipped.

- `worlds`: restrooms with other physics than the simulator's;
- `training`: the model file, from all worlds and real recordings;
- `benchmark`: the detector and published rules in every world and on recordings;
- ``history/``: how the model was developed, and what was tried without success.
"""
