"""What is asked at the same time goes through the network together."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Waiting(Generic[Item, Answer]):
    """An item in the queue.

    Attributes:
        item: what is asked.
        key: items with the same key can be answered together.
        since: when it came, on the clock of the event loop.
        answer: gets the answer.
    """

    item: Item
    key: Hashable
    since: float
    answer: "asyncio.Future[Answer]" = field(repr=False)


class Batcher(Generic[Item, Answer]):
    """A queue in front of one worker.

    The first item that waits fixes the batch: of those behind it all that have its key come along, up to `batch_size`,
    and others as they arrive, until the first has waited for `wait` seconds. While the worker answers, a further batch
    gathers in the queue, so that a busy service waits for nobody.

    Args:
        answer: items, which have one key, to an answer for each, in the worker.
        executor: the worker: one thread, as the network and its random state are one.
        batch_size: items at most that are answered together.
        wait: seconds.
    """

    def __init__(
        self, answer: Callable[[Sequence[Item], Any], Sequence[Answer]], executor: Executor, *, batch_size: int,
        wait: float,
    ) -> None:  # fmt: skip
        self.answer, self.executor, self.batch_size, self.wait = answer, executor, batch_size, wait
        self.queue: deque[Waiting[Item, Answer]] = deque()
        self.arrived = asyncio.Event()

    async def ask(self, items: Sequence[Item], key: Hashable) -> list[Answer]:
        """The answers to items, in their order. Whoever is cancelled leaves the queue."""
        loop = asyncio.get_running_loop()
        asked = [Waiting[Item, Answer](item, key, loop.time(), loop.create_future()) for item in items]
        self.queue.extend(asked)
        self.arrived.set()
        return list(await asyncio.gather(*(each.answer for each in asked)))

    async def run(self) -> None:
        """Answer until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self.next_batch()
            items = [each.item for each in batch]
            try:
                answers = await loop.run_in_executor(self.executor, self.answer, items, batch[0].key)
                for each, answer in zip(batch, answers, strict=True):
                    if not each.answer.done():
                        each.answer.set_result(answer)
            except Exception as error:
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(error)

    async def next_batch(self) -> list[Waiting[Item, Answer]]:
        """The next items with one key, which leave the queue."""
        while not (waiting := self.still_waiting()):
            self.arrived.clear()
            await self.arrived.wait()
        first = waiting[0]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(first.since + self.wait):
                while sum(each.key == first.key for each in self.queue) < self.batch_size:
                    self.arrived.clear()
                    await self.arrived.wait()
        batch = [each for each in self.still_waiting() if each.key == first.key][: self.batch_size]
        for each in batch:
            self.queue.remove(each)
        return batch or await self.next_batch()

    def still_waiting(self) -> deque[Waiting[Item, Answer]]:
        """The queue, without those who wait no more."""
        self.queue = deque(each for each in self.queue if not each.answer.done())
        return self.queue
