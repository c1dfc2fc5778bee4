"""The paper's world: one-shot task offloading in a cell."""
