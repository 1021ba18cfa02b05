"""What a user types: one file a verb, named as the verb; no logic."""
