"""The papers' deep rivals: DROO and ARE."""
