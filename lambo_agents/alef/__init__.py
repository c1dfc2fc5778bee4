"""Active learning from expert feedback (paper section IV-D)."""
