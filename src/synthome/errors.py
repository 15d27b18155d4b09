"""The errors that speak to the person at the keyboard."""


class InputError(ValueError):
    """A problem that the user can mend: the message says what, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with code 1.
    """


class PartlyFailed(InputError):
    """All outputs were written, but a part of what was asked for is not among them."""


class NotApplicable(InputError):
    """A method that these data do not suit, by their kind and through nobody's fault.

    A comparison of several methods goes on without it, and does not count it as a failure.
    """
