"""Items that wait at the same time are answered together, and nobody gets another's answer."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from torchatlas.serve.batching import Batcher

Made = Batcher[int, int]


class Doubling:
    """A worker that notes what it was given."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[tuple[list[int], Hashable]] = []
        self.threads: set[int] = set()
        self.seconds = seconds

    def __call__(self, items: Sequence[int], key: Hashable) -> list[int]:
        self.batches.append((list(items), key))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        if -1 in items:
            raise RuntimeError("not that one")
        return [2 * item for item in items]


def ran(worker: Doubling, story: Callable[[Made], Awaitable[Any]], **settings: Any) -> Any:
    """What comes of a story with a batcher that runs beside it."""

    async def whole() -> Any:
        with ThreadPoolExecutor(1) as executor:
            batcher = Made(worker, executor, **({"batch_size": 8, "wait": 0.05} | settings))
            running = asyncio.create_task(batcher.run())
            try:
                return await asyncio.wait_for(story(batcher), 20)
            finally:
                running.cancel()

    return asyncio.run(whole())


def test_what_comes_at_the_same_time_goes_together() -> None:
    worker = Doubling()

    async def story(batcher: Made) -> list[list[int]]:
        return await asyncio.gather(*(batcher.ask([i, 10 * i], "k") for i in range(4)))

    assert ran(worker, story) == [[2 * i, 20 * i] for i in range(4)]
    assert worker.batches == [([0, 0, 1, 10, 2, 20, 3, 30], "k")]
    assert len(worker.threads) == 1


def test_a_full_batch_waits_for_nobody_and_no_batch_is_larger() -> None:
    worker = Doubling()

    async def story(batcher: Made) -> float:
        began = time.monotonic()
        await batcher.ask(list(range(20)), "k")
        return time.monotonic() - began

    assert ran(worker, story, batch_size=10, wait=15.0) < 10
    assert [len(items) for items, _ in worker.batches] == [10, 10]


def test_items_with_other_options_are_another_batch() -> None:
    worker = Doubling()

    async def story(batcher: Made) -> list[list[int]]:
        return await asyncio.gather(*(batcher.ask([i], i % 2) for i in range(6)))

    assert ran(worker, story) == [[2 * i] for i in range(6)]
    assert sorted(worker.batches) == [([0, 2, 4], 0), ([1, 3, 5], 1)]


def test_while_one_batch_is_answered_the_next_one_gathers() -> None:
    worker = Doubling(seconds=0.3)

    async def story(batcher: Made) -> None:
        first = asyncio.create_task(batcher.ask([0], "k"))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(batcher.ask([i], "k")) for i in (1, 2, 3)]
        await asyncio.gather(first, *others)

    ran(worker, story, wait=0.0)
    assert [items for items, _ in worker.batches] == [[0], [1, 2, 3]]


def test_an_error_reaches_those_of_its_batch_and_no_others() -> None:
    worker = Doubling()

    async def story(batcher: Made) -> list[int]:
        with pytest.raises(RuntimeError, match="not that one"):
            await batcher.ask([-1], "k")
        return await batcher.ask([4], "k")

    assert ran(worker, story) == [8]


def test_who_is_cancelled_leaves_the_queue() -> None:
    worker = Doubling(seconds=0.2)

    async def story(batcher: Made) -> list[int]:
        first = asyncio.create_task(batcher.ask([1], "k"))
        await asyncio.sleep(0.1)
        gone = asyncio.create_task(batcher.ask([2], "k"))
        last = asyncio.create_task(batcher.ask([3], "other"))
        await asyncio.sleep(0)
        gone.cancel()
        await first
        return await last

    assert ran(worker, story, wait=0.0) == [6]
    assert [items for items, _ in worker.batches] == [[1], [3]]
