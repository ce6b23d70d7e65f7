"""Restroom world of buoyant puffs, evaporating droplets and device habits.

Every release is a puff that rises, is thrown and carried past the sensor, spreads by eddy
diffusion between reflecting walls and ends in the well-mixed room (`air`). Its droplets evaporate
by the d² law and instruments see number and size (`droplets`). People cause what happens (`acts`,
`day`), devices have algorithmic habits (`instruments`), `simulation` joins them room by room.

Drawn from the fact sheet's ranges (log-uniform unless noted), by its sections:

- 1, 8: puffs (0.1-20 mg, 0.38-1.0 µm, volatile share and e-fold by style), vapor of glycol with a
  MOX response of 0.15-1 by unit, cans, cleaners, sanitizer, cigarette, steam, dust, mists, incense.
- 4: response to dust and smoke; Plantower weighs large particles like d², Sensirion extrapolates.
- 5: 15-80 m³, fans and leaks of 0.5-16 air changes an hour, deposition x1-2.6, mixing in 1-5 min.
- 6: lags, noise and steps of sensors, 710-1030 ticks a doubling of gas, coincidence of the OPC-N3.

Priors of this world alone, without a source: draft and circulation speeds, Gamma shape of
fluctuations, share that a stall or fan keeps (to 92 %), hidden puffs (3-40 % let out), fog of
0.05-2 mg/m³ above 80-92 %RH, habits of people, rates of rare acts.

Calibrated by the spread of a young puff and the throw of the exhaled jet against
- mean PM2.5 at 0.8 and 1.5 m of a vaper in 80 m³: 128 and 19 µg/m³ here, 188 and 19 published;
- from 1 to 2 m -77 % here, as published for cannabis vaping;
- one pod puff over 2 µg/m³ at a random place of a random room: e-fold 20 s (median of 10 s
  means), 19 s recorded; a third of them have a tail of minutes, which the recording has not.

Fitted as well: the OPC-N3's scale and coincidence and Plantower's size ratios to section 6 and to
recorded nebulizers (Plantower stays 0.1 above those), and the share that escapes a stall, so that
about 60 % of vaping sessions are visible, for which no figure is published.
"""

from research.worlds.mixing_jets.simulation import mixing_jets

__all__ = ["mixing_jets"]
