"""Playing a sweep: cells, workers, bounds and resumable results."""
