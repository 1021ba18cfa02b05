"""One run: built, trained, measured."""
