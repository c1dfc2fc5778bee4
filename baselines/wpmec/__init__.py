"""Agents of the wireless powered network: modes of its frames; its physics solves the shares."""
