"""report.html: one file that needs nothing beside it."""
