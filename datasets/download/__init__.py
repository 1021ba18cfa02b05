"""Fetches data sets and unpacks archives safely."""
