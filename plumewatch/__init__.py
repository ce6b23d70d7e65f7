"""The shell: command line, configuration and the composition of all parts."""

from importlib.metadata import version

__version__ = version("plumewatch")
