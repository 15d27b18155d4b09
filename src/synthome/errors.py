"""The one error that speaks to the person at the keyboard."""


class InputError(ValueError):
    """A problem that the user can mend: the message says what, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with code 1.
    """
