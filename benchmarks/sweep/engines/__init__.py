"""Where a sweep's tasks run."""
