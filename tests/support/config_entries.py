"""Write configuration for tests, entry by entry."""

import json
from datetime import date


def entry(table, **keys):
    """Return one entry of a list in the configuration, such as `[[sensor]]`."""
    lines = (
        f"{key} = {value if isinstance(value, date) else json.dumps(value)}\n"
        for key, value in keys.items()
    )
    return "".join((f"[[{table}]]\n", *lines))


def shift(name, people, **keys):
    """Return a shift of staff."""
    return entry("shift", id=name, receiver="staff", people=people, **keys)


def one_room(*sensors, timezone="UTC", top="", **keys):
    """Return a configuration of one room with these sensors; `keys` are the last sensor's."""
    return (
        f'site = "S"\ntimezone = "{timezone}"\n{top}'
        + entry("room", id="r", name="Boys", building="North")
        + "".join(entry("sensor", id=sensor, room="r") for sensor in sensors)
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    )
