"""Pictures of a slot."""
