"""The service as an ASGI application: its page, `/predict`, `/describe`, `/health` and `/ready`."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from .answering import BROKEN, Answer
from .batching import Batcher
from .inputs import Input, Taker
from .limits import Limits
from .options import Option, chosen
from .page import page, policy
from .requests import asked

log = logging.getLogger(__name__)
SECURE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}
RETRY = {"retry-after": "1"}  # seconds


@dataclass(frozen=True)
class Service:
    """What is served.

    Attributes:
        about: what `/describe` says of network and data.
        answering: answers inputs, see `Answering`.
        taker: makes inputs of requests.
        options: of a request, by name.
        defaults: options where a request says nothing.
        limits: see `Limits`.
        batch_size, wait: see `Batcher`.
    """

    about: Mapping[str, Any]
    answering: Callable[[Sequence[Input], Any], Sequence[Answer]]
    taker: Taker
    options: Mapping[str, Option]
    defaults: Mapping[str, Any]
    limits: Limits
    batch_size: int = 32
    wait: float = 0.005

    def described(self) -> dict[str, Any]:
        """What clients can know: what is asked for, and what comes back."""
        return {
            **self.about, "form": self.taker.form, "sides": list(self.taker.sides), "input": self.taker.ways(),
            "endings": list(self.taker.endings),
            "options": [each.described(self.limits) for each in self.options.values()],
            "limits": asdict(self.limits), "batch_size": self.batch_size, "wait_ms": 1000 * self.wait,
        }  # fmt: skip


class Answers:
    """The endpoints of a service.

    Args:
        service: what is served.
        executor: where the network computes: one thread.
    """

    def __init__(self, service: Service, executor: Executor) -> None:
        self.service, self.under_way, self.number = service, 0, 0
        self.batcher: Batcher[Input, Answer] = Batcher(
            lambda inputs, key: service.answering(inputs, key[0]),
            executor,
            batch_size=service.batch_size,
            wait=service.wait,
        )

    async def predict(self, request: Request) -> Response:
        """Rows for what was sent, or one sentence and a status that says why there are none."""
        began, service = time.monotonic(), self.service
        if self.is_full():
            raise HTTPException(503, "too many requests are under way: ask again in a moment", RETRY)
        self.under_way += 1
        try:
            found = await asked(request, service.taker, service.limits)
            options = {**service.defaults, **chosen(found.options, service.options, service.limits)}
            answers = await self.batcher.ask(found.inputs, self.key_of(options))
        finally:
            self.under_way -= 1
        spent = 1000 * (time.monotonic() - began)
        log.info("%d inputs of %s, %.0f ms", len(answers), request.client.host if request.client else "-", spent)
        if all(answer.error for answer in answers):
            first = answers[0]
            raise HTTPException(max(answer.status for answer in answers), first.error)
        said = [
            {"name": each.name, **({"error": answer.error} if answer.error else {"rows": list(answer.rows)})}
            for each, answer in zip(found.inputs, answers, strict=True)
        ]
        return JSONResponse({"answers": said}, headers=SECURE)

    def key_of(self, options: Mapping[str, Any]) -> tuple[Any, ...]:
        """Requests with the same key are answered together: those with the same options.

        What dropout draws depends on what stands beside in a batch: who asks for it is answered alone.
        """
        self.number += 1
        return tuple(sorted(options.items())), self.number if options.get("mc_samples") else 0

    def is_full(self) -> bool:
        return self.under_way >= self.service.limits.queue

    async def describe(self, request: Request) -> Response:
        """What is served, its options and its limits."""
        return JSONResponse(self.service.described(), headers=SECURE)

    async def health(self, request: Request) -> Response:
        """Whether the process lives: it answers."""
        return JSONResponse({"status": "ok"}, headers=SECURE)

    async def ready(self, request: Request) -> Response:
        """Whether it takes a further request now: where several serve, others may be asked instead."""
        if self.is_full():
            return JSONResponse({"status": "full"}, 503, {**SECURE, **RETRY})
        return JSONResponse({"status": "ready", "under_way": self.under_way}, headers=SECURE)

    async def home(self, request: Request) -> Response:
        """A page to try it in a browser."""
        text = page()
        return HTMLResponse(text, headers={**SECURE, "content-security-policy": policy(text)})


async def refused(request: Request, error: Exception) -> Response:
    """One sentence as JSON."""
    assert isinstance(error, HTTPException)
    headers = {**SECURE, **(error.headers or {})}
    return JSONResponse({"error": error.detail}, error.status_code, headers)


async def broken(request: Request, error: Exception) -> Response:
    """The same for what nobody has foreseen; the traceback is for the log alone."""
    return JSONResponse({"error": BROKEN}, 500, SECURE)


def create_app(service: Service, threads: int | None = None) -> Starlette:
    """The application, for any ASGI server with one process.

    Args:
        service: what is served.
        threads: with which the network computes on a CPU; None: as many as torch chooses.
    """
    executor = ThreadPoolExecutor(1, "network", initializer=set_threads, initargs=(threads,))
    answers = Answers(service, executor)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        worker = asyncio.create_task(answers.batcher.run())
        try:
            yield
        finally:
            worker.cancel()
            executor.shutdown()

    routes = [
        Route("/", answers.home),
        Route("/predict", answers.predict, methods=["POST"]),
        Route("/describe", answers.describe),
        Route("/health", answers.health),
        Route("/ready", answers.ready),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: refused, Exception: broken})


def set_threads(threads: int | None) -> None:
    """Threads of the thread that computes."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
