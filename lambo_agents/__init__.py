"""Agents for the LAMBO environments: the protocol, the registry, and LAMBO itself."""
