"""Detection benchmark: the detector in every world, trained with and without it, and other rules.

Run as ``make -C research bench``; ``ARGS=--help`` lists the options. The modules:

- `recordings`: real and other readings, labeled with what happened;
- `world_recordings`: of every world, from seeds that training never uses, kept on disk;
- `scoring`: defines found, false and late; pure functions;
- `peers`: the published rules;
- `run`: the detector, and the rules, over recordings;
- `report`: tables and the page.

Run by themselves: `weeks_of_use`, `sensor_faults`, `replay_real`.
"""
