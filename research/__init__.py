"""What makes and judges the detector's model: not shipped, and imported by nothing that is.

- `worlds`: restrooms of other physics than the simulator's;
- `training`: the model file, from all worlds and real recordings;
- `benchmark`: the detector and published rules in every world and on recordings;
- ``history/``: how the model came about, and what was tried without success.
"""
