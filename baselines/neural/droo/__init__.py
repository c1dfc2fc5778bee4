"""DROO: a network that learns online from its own best candidates."""
