"""What can go wrong on a developer's machine."""


class LocalError(Exception):
    """One clear line for the person at the terminal; what to do about it included."""
