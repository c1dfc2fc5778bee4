"""A new agent package to start from: `lambo new-agent`."""
