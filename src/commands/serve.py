"""The command `torchatlas serve`: a trained network behind HTTP."""

import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch

from ..api.trained import load
from ..errors import UserError
from ..predict.registry import Trained, answerers, find, listed, taken, usage
from ..run.console import logged_by
from ..run.devices import device_of
from ..storage.run_folder import shown
from ..version import __version__
from .signature import read
from .words import converted

if TYPE_CHECKING:  # the extra serve
    from ..serve.app import Service
    from ..serve.limits import Limits

log = logging.getLogger(__name__)


def serve(
    ckpt: str, host: str = "127.0.0.1", port: int = 8000, batch_size: int = 32, wait_ms: float = 5.0,
    threads: int | None = None, accelerator: Literal["auto", "gpu", "cuda", "mps", "cpu"] = "auto",
    max_bytes: int = 20_000_000, max_inputs: int = 64,
    max_pixels: int = 25_000_000, max_seconds: float = 60.0, max_characters: int = 20_000, max_rows: int = 100_000,
    max_length: int = 1_000, timeout: float = 30.0, queue: int = 64, **options: Any,
) -> None:  # fmt: skip
    """A trained network behind HTTP, with a page to try it in a browser.

    It answers what `torchatlas predict` answers, in the same rows. At / is the page, at /predict the network, at
    /describe what it takes, and at /health and /ready what a container asks. Requests that come at the same time go
    through the network together. Ctrl-C or SIGTERM ends it when what is under way is answered.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        host: address at which it listens; 0.0.0.0: all of this machine, and everyone who reaches it may ask.
        port: of that address; 0: any that is free.
        batch_size: inputs at most that go through the network together.
        wait_ms: milliseconds for which the first of them waits for others.
        threads: with which the network computes on a CPU; else as many as torch chooses.
        accelerator: the device; auto: the best there is.
        max_bytes: of a request, and of what is unpacked of a file.
        max_inputs: files, texts or arrays of a request.
        max_pixels: of an image, width times height.
        max_seconds: of a sound.
        max_characters: of a text.
        max_rows: of a table.
        max_length: by which a text may be continued.
        timeout: seconds in which a request must have arrived.
        queue: requests at a time; more get status 503.
        options: of the function that answers, where a request does not choose them, see `predict.registry`.

    Examples:
        torchatlas serve ckpt=runs/resnet18-cifar10
        torchatlas serve ckpt=runs/resnet18-cifar10 host=0.0.0.0 port=8080 top=5
        curl -F file=@photo.jpg http://127.0.0.1:8000/predict
    """
    for name, value, least in (("batch_size", batch_size, 1), ("wait_ms", wait_ms, 0), ("threads", threads, 1)):
        if value is not None and value < least:
            raise UserError(f"{name}={value:g} must be at least {least}")
    if not 0 <= port <= 65535:
        raise UserError(f"port={port} must be from 0 to 65535, as in port=8000")
    try:
        from ..serve import server
        from ..serve.app import create_app
        from ..serve.limits import Limits
    except ImportError as error:
        raise UserError(f'serve needs {error.name}, which is missing: type pip install "torchatlas[serve]"') from error
    limits = Limits(
        max_bytes, max_inputs, max_pixels, max_seconds, max_characters, max_rows, max_length, timeout, queue
    )
    with logged_by(logging.StreamHandler(), "%(message)s"), contextlib.closing(server.bound(host, port)) as found:
        service = service_of(ckpt, options, limits, device_of(accelerator), batch_size, wait_ms / 1000)
        if not server.is_loopback(host):
            log.warning("host=%s: everyone who reaches this address may ask; there is no password", host)
        found.listen(server.BACKLOG)  # who asks from here on waits for no more than the loop
        log.info("%s answers at %s (Ctrl-C ends it)", service.about["name"], server.address_of(found, host))
        server.run(create_app(service, threads), found, timeout=timeout)
        log.info("ended")


def service_of(
    ckpt: str, options: dict[str, Any], limits: "Limits", device: torch.device, batch_size: int, wait: float
) -> "Service":
    """What is served of a checkpoint.

    Args:
        ckpt: see `serve`.
        options: defaults of requests.
        limits: see `Limits`.
        device: where the network computes.
        batch_size, wait: see `Batcher`.

    Raises:
        UserError: `predict` does not answer for such a checkpoint, or one of the options is none of that.
    """
    from ..serve.answering import Answering
    from ..serve.app import Service
    from ..serve.inputs import Taker, sides_of
    from ..serve.options import OWN, Option

    model = load(ckpt, device)
    checkpoint = Trained.of_checkpoint(model.task, model.about)
    answerer = find("predict", checkpoint)
    if answerer is None:
        served = dict.fromkeys(name for each in answerers() if each.command == "predict" for name in each.tasks)
        use, _ = usage(checkpoint)
        raise UserError(
            f"{shown(model.checkpoint)} was trained for {model.task.name}, and serve answers for "
            f"{listed(list(served))}: use torchatlas {use} ckpt=..."
        )
    defaults = taken(answerer, checkpoint, options, own=("output", "probabilities"))
    keys = {key.name: key for key in read("predict").keys.values() if key.name in answerer.options}
    data = model.about["data"]
    return Service(
        about={
            "name": model.name, "task": model.task.name, "kind": checkpoint.kind,
            "network": type(model.network).__name__, "checkpoint": model.checkpoint.name, "device": str(device),
            **told(data), "version": __version__,
        },
        answering=Answering(model, writes="output" in answerer.options),
        taker=Taker(model.data, sides_of(data), limits),
        options={
            name: Option(
                name, key.kind, key.choices, defaults.get(name, key.default), key.help, partial(converted, key)
            )
            for name, key in keys.items() if name not in OWN
        },
        defaults=defaults, limits=limits, batch_size=batch_size, wait=wait,
    )  # fmt: skip


def told(data: dict[str, Any]) -> dict[str, Any]:
    """What is said of the data of the training: short values, and not the tokens of a vocabulary."""
    names = (
        "classes", "in_channels", "image_size", "sample_rate", "seconds", "max_length", "time", "step", "series",
        "covariates", "lookback", "horizon", "context", "colours",
    )  # fmt: skip
    return {name: data[name] for name in names if name in data}
