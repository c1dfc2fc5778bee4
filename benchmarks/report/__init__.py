"""From results to numbers, tables, figures and pages."""
