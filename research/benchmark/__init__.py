"""Detection benchmark: the detector and published rules in every world.

The detector runs in each world with a model trained on that world, and with one trained without it.
Run as ``make -C research bench``; ``ARGS=--help`` lists the options. The modules:

- `recordings`: real and other readings, labeled with the truth;
- `world_recordings`: recordings of every world from seeds that training never uses, cached on disk;
- `scoring`: definitions of found, false and late, as pure functions;
- `peers`: the published rules;
- `run`: runs the detector and the rules over recordings;
- `report`: tables and the documentation page.

`weeks_of_use`, `sensor_faults` and `replay_real` are run separately.
"""
