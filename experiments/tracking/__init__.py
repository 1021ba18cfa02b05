"""Weights & Biases as a mirror of a run's record."""
