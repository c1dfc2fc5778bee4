"""Rules, searches and bounds for tasks that wait."""
