"""The one kind of exception whose message is for the person at the keyboard."""


class UserError(ValueError):
    """A mistake in the input: one sentence that says what is wrong and what to type instead.

    The command line prints it without a traceback and exits with status 2.
    """


class Stopped(Exception):
    """A run that was asked to stop by a signal, and has saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number
