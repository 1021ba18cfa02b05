"""Errors that are told without a traceback: the user's to mend, or a guard's that ended a run."""


class ConfigError(ValueError):
    """A configuration that cannot be read; says where, what was found, and what is allowed."""


class UsageError(ValueError):
    """A command that cannot be carried out as it was given."""


class GuardError(RuntimeError):
    """A run that a guard ended, exit status 1: what happened, what to change, what is kept."""
