"""Places: where a task may run, the same numbers in every world of cells."""

LOCAL = 0  # the UE itself; place m is server m, 1..M
