"""Pure numpy/scipy detection of events in restroom air; imports no other package of this project."""
