"""The commands by group: what each is called, what it takes, and what its help says.

What they do is in the modules they import when they run, so that ``--help`` and completion start
fast. A new command is a function in the module of its group; it prints through a
`plumewatch.cli.printer.Printer`, takes ``--json``, and gives examples to `manual`.
"""
