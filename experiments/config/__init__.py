"""A run as frozen values, read strictly from YAML with lines."""
