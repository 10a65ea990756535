"""The terminal: log lines that do not tear the progress bar."""

import logging

import rich


class ConsoleHandler(logging.Handler):
    """Prints through the console that the progress bar also uses."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            rich.get_console().print(self.format(record), markup=False, highlight=False, soft_wrap=True)
        except Exception:  # as in logging.StreamHandler: a log line must not end the program
            self.handleError(record)
