"""Physics of a restroom: aerosol, gases, plumes, rooms, background air."""
