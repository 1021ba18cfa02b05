"""Chooses, runs, measures and tells; the only room that knows the others."""
