"""Signals as requests to end a run: it is given time to end its step, and then ends all the same."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import Stopped

log = logging.getLogger(__name__)
PATIENCE = 5.0  # seconds from an exception in the main thread to the end of the process, where it computes on
LISTENING: "set[Requests]" = set()


def be_deaf() -> None:
    """In a worker of the data, which Ctrl-C in a terminal reaches too: it would write to its parent's socket."""
    if LISTENING:
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=be_deaf)


class Requests:
    """Hears Ctrl-C and SIGTERM: the first asks to save at the end of the step, a second one to end at once.

    Python runs a signal's handler between two of its own instructions, which a backward pass of a minute is not. So the
    number of each signal is also written to a socket (`signal.set_wakeup_fd`), by a handler in C, and a thread waits
    there. Where the grace is over, or at a second signal, it lets the handler raise `Stopped` in the main thread, and
    ends the process itself where that thread does not come to it in `PATIENCE` seconds.

    Args:
        grace: seconds that the step has to end; None: as long as it takes.
        at_step: whether the run is within a step, and not in a validation, whose end is waited for.

    Attributes:
        signal: the first that has come, if any.
    """

    def __init__(self, grace: float | None = None, at_step: Callable[[], bool] = lambda: True) -> None:
        self.grace, self.at_step = grace, at_step
        self.signal: int | None = None
        self.reason: str | None = None  # for which the run ends without saving
        self.handlers: dict[int, Any] = {}
        self.lock, self.writing = threading.Lock(), False  # while a checkpoint is written
        self.over = threading.Event()

    def listen(self) -> None:
        """From now on; in the main thread only, since others get no signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.over.clear()
        self.inbox, outbox = socket.socketpair()
        outbox.setblocking(False)
        self.outbox = outbox
        self.wakeup = signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            self.handlers[number] = signal.signal(number, self.handle)
        LISTENING.add(self)
        threading.Thread(target=self.watch, name="requests", daemon=True).start()

    def answered(self) -> int | None:
        """The first signal, if any, at the end of a step: it will be saved, which nothing interrupts any more."""
        if self.signal is not None:
            self.over.set()
        return self.signal

    def ignore(self) -> None:
        """Give the signals back."""
        self.over.set()
        LISTENING.discard(self)
        if not self.handlers:
            return
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}
        signal.set_wakeup_fd(self.wakeup)
        self.outbox.close()  # which ends the thread

    @contextmanager
    def held(self) -> Iterator[None]:
        """Around the writing of a checkpoint, at which the run does not end."""
        with self.lock:
            self.writing = True
            try:
                yield
            finally:
                self.writing = False
        if self.reason is not None and not self.over.is_set():  # it would have ended meanwhile
            self.end()

    def handle(self, number: int, frame: Any) -> None:
        """In the main thread."""
        if self.reason is not None:
            if not self.writing:
                self.end()
        elif self.signal is None:
            self.signal = number
            log.info("%s: saving at the end of this step; again to stop at once", signal.Signals(number).name)

    def end(self) -> None:
        assert self.signal is not None
        raise Stopped(self.signal, self.reason)

    def watch(self) -> None:
        """In a thread of its own: count signals, and end a run that has been asked twice or has had its grace."""
        try:
            if not (first := self.heard(None)):
                return
            waited = self.grace
            while not (second := self.heard(waited)) and not self.over.is_set() and not self.at_step():
                waited = 0.2  # a validation has begun meanwhile
            if self.over.is_set():
                return
            self.reason = "at once, as asked twice" if second else f"since it did not end in {self.grace:g} s"
            self.signal = self.signal or first
            with self.lock:
                pass
            if not self.over.is_set():
                signal.raise_signal(first)
            if not self.over.wait(PATIENCE):
                with self.lock:
                    log.info("stopped by %s %s", signal.Signals(first).name, self.reason)
                    logging.shutdown()
                    os._exit(128 + first)
        finally:
            self.inbox.close()

    def heard(self, seconds: float | None) -> int:
        """The next signal within so many seconds; 0: none, or no more are listened to."""
        self.inbox.settimeout(seconds)
        try:
            while found := self.inbox.recv(1):
                if found[0] in (signal.SIGINT, signal.SIGTERM):
                    return found[0]
        except (TimeoutError, BlockingIOError):
            return 0
        self.over.set()
        return 0
