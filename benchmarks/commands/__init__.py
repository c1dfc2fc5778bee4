"""One file per sub-command of ``lambo``.

A function that hands its options to a lower floor: parameters, or the dataclass that floor takes.
"""
