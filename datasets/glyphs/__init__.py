"""The embedded data set: small drawings of letters, written on demand."""
