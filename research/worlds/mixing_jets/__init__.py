"""Restroom world of buoyant puffs, evaporating droplets and device-specific firmware.

Every release is a puff that rises, is blown past the sensor, spreads by eddy diffusion between
reflecting walls, and ends up in the well-mixed room (`air`). Its droplets evaporate by the d² law,
and instruments respond to their number and size (`droplets`). `acts` and `day` define what people
do, and `instruments` how devices process their signals. `simulation` simulates one room at a time.

These parameters are drawn from ranges in the fact sheet (log-uniformly unless noted), by section:

- 1, 8: puffs (0.1-20 mg, 0.38-1.0 µm, volatile share and e-fold by style), vapor of glycol with a
  MOX response of 0.15-1 by unit, cans, cleaners, sanitizer, cigarette, steam, dust, mists, incense.
- 4: response to dust and smoke; Plantower weighs large particles like d², Sensirion extrapolates.
- 5: 15-80 m³, fans and leaks of 0.5-16 air changes an hour, deposition x1-2.6, mixing in 1-5 min.
- 6: lags, noise and steps of sensors, 710-1030 ticks a doubling of gas, coincidence of the OPC-N3.

Assumptions of this world without a source: draft and circulation speeds, Gamma shape of
fluctuations, the share that a stall or fan retains (up to 92%), hidden puffs (3-40% is exhaled
visibly), fog of 0.05-2 mg/m³ above 80-92% RH, people's habits, rates of rare acts.

The initial spread of a puff and the reach of the exhaled jet are calibrated against
- mean PM2.5 at 0.8 and 1.5 m of a vaper in 80 m³: 128 and 19 µg/m³ here, 188 and 19 published;
- decrease from 1 to 2 m: 77% here, as published for cannabis vaping;
- one pod puff above 2 µg/m³ at a random place in a random room: e-folding time 20 s here (median of
  10 s means), 19 s recorded; here, a third of them have a tail of minutes, which the recording
  lacks.

The OPC-N3's scale and coincidence and the Plantower's size ratios are fitted to section 6 and to
recordings of nebulizers; the Plantower's ratios remain 0.1 too high. The share that escapes a stall
is chosen so that about 60% of vaping sessions are visible (no figure is published).
"""

from research.worlds.mixing_jets.simulation import mixing_jets

__all__ = ["mixing_jets"]
