"""The service's weekly try of an adaptation: ``python -m plumewatch.adaptation_job``.

A program of its own behind everything else of the machine, since it judges weeks of readings again.
It reads the configuration as JSON from its standard input. A better adaptation is stored as ready;
with ``adapt = "auto"`` it is applied. It prints one sentence.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time

from alerts.errors import AdaptationError
from alerts.incidents import adaptations
from alerts.incidents.incident import SYSTEM
from detection.model import Model
from plumewatch.adaptation import adapt, backtest_fields
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.paths import DataPaths
from plumewatch.service.data_folder import open_series, open_state
from storage.errors import StorageError
from storage.sqlite import transaction


def try_adaptation(config: PlumewatchConfig, now: float) -> str:
    """Try, store and perhaps apply an adaptation; return what was done.

    Raises `AdaptationError` if there are too few answers.
    """
    with open_state(DataPaths(config.data_dir).state) as state, open_series(config) as series:
        trial = adapt(config, state, series, now)
        if not trial.change.is_better:
            return "an adaptation to the school's answers is not better than what is used"
        is_applied = config.detection.adapt == "auto"
        fields = backtest_fields(trial)
        with transaction(state) as tx:
            model = Model.shipped()
            number = adaptations.propose(tx, model, trial.correction, fields, SYSTEM, now)
            if is_applied:
                adaptations.apply(tx, number, SYSTEM, now, "better in the back-test")
    if is_applied:
        return f"adaptation {number} is active: `plumewatch adapt --undo` undoes it"
    return f"adaptation {number} is ready: see `plumewatch adapt`"


def main() -> int:
    """Try once; 0 if that was possible."""
    os.nice(19)
    config = PlumewatchConfig.model_validate_json(sys.stdin.buffer.read())
    try:
        sys.stdout.write(f"{try_adaptation(config, time.time())}\n")
    except AdaptationError as error:
        sys.stdout.write(f"no adaptation yet: {error}\n")
    except (StorageError, sqlite3.Error, OSError) as error:
        sys.stdout.write(f"no adaptation was tried: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
