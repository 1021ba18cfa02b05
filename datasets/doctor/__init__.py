"""Finds and mends labels that cannot be right."""
