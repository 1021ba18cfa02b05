"""Errors that are the user's to mend: shown without a traceback, with exit status 2."""


class ConfigError(ValueError):
    """A configuration that cannot be read; says where, what was found, and what is allowed."""


class UsageError(ValueError):
    """A command that cannot be carried out as it was given."""
