"""The groups that options stand in, in ``--help`` and in docs/commands.md."""

from cyclopts import Group

PLAYED = Group("What is played", sort_key=1)
TRAINED = Group("How it is trained", sort_key=2)
WRITTEN = Group("What is written", sort_key=3)
RUN = Group("How it runs", sort_key=4)
