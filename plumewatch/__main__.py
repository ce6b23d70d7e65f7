"""``python -m plumewatch``."""

from plumewatch.cli.main import main

main()
