"""What worlds share: positions, mobility, channel, seeds."""
