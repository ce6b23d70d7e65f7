"""Benchmark the detector and published rules in every world.

The detector runs in each world with a model trained on that world, and with one trained without it.
Run as ``make -C research bench``; ``ARGS=--help`` lists the options. The modules:

- `recordings`: labeled readings, real and simulated;
- `world_recordings`: recordings of every world from seeds that training never uses, cached on disk;
- `scoring`: what counts as found, false and late, as pure functions;
- `peers`: the published rules;
- `run`: runs the detector and the rules over recordings;
- `report`: tables and the documentation page.

`weeks_of_use`, `sensor_faults` and `replay_real` are run separately.
"""
