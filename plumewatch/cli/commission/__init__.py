"""`plumewatch commission`: what this sensor in this room can see, and how late, by trying it."""
