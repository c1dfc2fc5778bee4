"""Other papers' programs, run again: their number, ours with an interval, and what differs."""
