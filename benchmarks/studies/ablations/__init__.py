"""Trainings side by side: one study, and per world how its networks are trained and measured."""
