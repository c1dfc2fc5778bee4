"""The asymmetric encoder-decoder (paper section IV-C), read top to bottom."""
