"""Run the detector over streams of readings."""

from itertools import pairwise

from detection.channels import ReadingBatch
from detection.detector import Detector


def events_of(detector, batch, cuts=()):
    """Step a whole batch, or its parts cut at the given rows; return all events."""
    events = []
    bounds = [0, *cuts, len(batch)]
    for a, b in pairwise(bounds):
        events += detector.step(ReadingBatch(batch.sensor[a:b], batch.time[a:b], batch.values[a:b]))
    return events


def fresh(names):
    detector = Detector()
    for name in names:
        detector.assign_row(name)
    return detector
