"""Signals while a step takes long: the run ends in time, with its last checkpoint, and goes on from there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import REPOSITORY, Train
from helpers.stopping import Hangs, HangsTwice, equal, stopped

from torchatlas.callbacks import requests
from torchatlas.callbacks.requests import Requests
from torchatlas.errors import Stopped
from torchatlas.storage.checkpoints import damage, read

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none", "trainer.max_epochs=3")


@pytest.mark.parametrize(("cls", "grace"), [(Hangs, "0.5"), (HangsTwice, "100")])
def test_a_step_that_does_not_end_is_given_up(cls: type, grace: str, train: Train) -> None:
    words = (*TINY, f"callbacks.checkpoint.grace={grace}", "callbacks.checkpoint.every=3st")
    whole = train(*words)
    part = stopped(train, cls, *words, status=128 + signal.SIGTERM)
    reason = "at once, as asked twice" if cls is HangsTwice else "since it did not end in 0.5 s"
    said = f"stopped by SIGTERM within step 26, {reason}: what is saved ends with step 24"
    assert said in (part / "train.log").read_text()
    last = part / "checkpoints" / "last.ckpt"
    assert damage(last) is None
    assert read(last)["global_step"] == 24
    train(f"resume={part}")
    assert equal(whole, part) == []


PROGRAM = """
import ctypes, logging, signal, sys, threading, time
from torchatlas.callbacks import requests
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
requests.PATIENCE = 0.2
heard = requests.Requests(0.2)
heard.listen()
# As in a backward pass, no handler runs in the main thread, nor does the signal wake it there.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
threading.Thread(target=signal.pthread_sigmask, args=(signal.SIG_UNBLOCK, set()), daemon=True).start()
print("ready", flush=True)
ctypes.CDLL(None).sleep(100)
print("it was not ended")
"""


def test_a_program_that_computes_on_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert out.endswith("stopped by SIGTERM since it did not end in 0.2 s\n")


def wait_for(heard: Requests) -> None:
    end = time.monotonic() + 30
    while heard.reason is None and time.monotonic() < end:
        time.sleep(0.01)


def test_a_checkpoint_that_is_being_written_is_not_interrupted() -> None:
    heard, written = Requests(0.05), []
    heard.listen()

    def save() -> None:
        with heard.held():
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(heard)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            written.append("all of it")

    try:
        with pytest.raises(Stopped) as stop:
            save()
    finally:
        heard.ignore()
    assert written == ["all of it"]
    assert (stop.value.number, stop.value.unsaved) == (signal.SIGTERM, "since it did not end in 0.05 s")


def test_the_end_of_a_validation_is_waited_for() -> None:
    heard = Requests(0.05, at_step=lambda: False)
    heard.listen()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.5)
    assert heard.answered() == signal.SIGINT
    heard.ignore()
    assert heard.reason is None


def test_signals_are_given_back_and_workers_say_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before[2])
    heard = Requests(100)
    heard.listen()
    if (child := os.fork()) == 0:  # which hears Ctrl-C in a terminal beside its parent
        os.kill(os.getpid(), signal.SIGINT)
        os._exit(0 if signal.set_wakeup_fd(-1) == -1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert heard.signal is None
    heard.ignore()
    after = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(after[2])
    assert after == before
    assert not requests.LISTENING


@pytest.mark.parametrize("grace", ["0", "-1", "soon", "true"])
def test_a_grace_that_is_none_is_refused(
    grace: str, train: Train, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as exit_:
        train(*TINY, f"callbacks.checkpoint.grace={grace}")
    assert exit_.value.code == 2
    assert (
        f"callbacks.checkpoint.grace={grace.title() if grace == 'true' else grace} must be" in capsys.readouterr().err
    )
