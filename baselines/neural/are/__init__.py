"""ARE: a network that imitates labels."""
