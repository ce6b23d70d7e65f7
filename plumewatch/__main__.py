"""``python -m plumewatch``."""

from plumewatch.cli import main

main()
