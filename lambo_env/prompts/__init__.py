"""From text to objective."""
