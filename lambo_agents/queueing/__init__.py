"""LAMBO where tasks wait: a network over the tasks of a slot, learned over slots."""
