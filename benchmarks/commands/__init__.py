"""One file per sub-command of ``lambo``.

A dataclass of options and a function that hands them to a lower floor.
"""
