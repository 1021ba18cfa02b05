"""The engine room of the focal formulas: eager, fused and compiled."""
