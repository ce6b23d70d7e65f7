"""Detection benchmark: the detector in every world, trained with and without it, beside others.

Run as ``make -C research bench``; ``ARGS=--help`` lists the options. One idea a module:

- `recordings`: readings with what happened to them, real ones and files of others;
- `world_recordings`: of every world, from seeds that training never uses, kept on disk;
- `scoring`: what counts as found, as false, as late; pure functions;
- `peers`: the published rules;
- `run`: the detector, and the rules, over recordings;
- `report`: tables and the page.

Run by themselves: `weeks_of_use`, `sensor_faults`, `replay_real`.
"""
