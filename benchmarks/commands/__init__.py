"""One file a sub-command of ``lambo``: a dataclass of options and a function that hands them to a lower floor."""
