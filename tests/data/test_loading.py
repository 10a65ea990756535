"""Orders of samples: plain, by length and in streams; the same for any number of processes and workers."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from torchatlas.data.images.base import InMemoryImages
from torchatlas.data.images.digits import Digits
from torchatlas.data.loading import BucketOrder, Loader, Order, StreamOrder
from torchatlas.data.text.base import Streams
from torchatlas.errors import UserError

# --- order, random numbers, augmentation


def test_order_in_training_is_a_permutation_shared_by_processes() -> None:
    def batches(rank: int, world: int, epoch: int = 0) -> list[list[int]]:
        order = Order(50, 8, shuffle=True, seed=3, rank=rank, world=world)
        order.set_epoch(epoch)
        return [indices.tolist() for _, indices in order]

    whole = batches(0, 1)
    assert [len(b) for b in whole] == [8] * 6
    assert len({i for b in whole for i in b}) == 48
    halves = zip(batches(0, 2), batches(1, 2), strict=True)
    for together, (left, right) in zip(whole, halves, strict=True):
        assert sorted(left + right) == sorted(together)  # so a step sees the same samples on any number of devices
    assert batches(0, 1) == whole
    assert batches(0, 1, epoch=1) != whole


@pytest.mark.parametrize(("size", "world"), [(50, 1), (50, 2), (17, 2), (19, 4), (4, 4), (33, 2)])
def test_order_in_evaluation_has_each_sample_once_and_equal_numbers_of_batches(size: int, world: int) -> None:
    orders = [Order(size, 8, shuffle=False, rank=r, world=world) for r in range(world)]
    batches = [[indices.tolist() for _, indices in order] for order in orders]
    assert sorted(i for share in batches for batch in share for i in batch) == list(range(size))
    assert len({len(share) for share in batches}) == 1
    assert all(len(share) == len(order) for share, order in zip(batches, orders, strict=True))
    assert all(0 < len(batch) <= 8 // world for share in batches for batch in share)


def test_order_refuses_what_cannot_be() -> None:
    with pytest.raises(UserError, match=r"more than the 5 training samples: use data.batch_size=5"):
        Order(5, 8, shuffle=True)
    with pytest.raises(UserError, match="multiple of the 2 processes"):
        Order(50, 7, shuffle=True, world=2)
    with pytest.raises(UserError, match="cannot be divided"):
        Order(1, 2, shuffle=False, world=2)


def test_workers_give_the_same_batches(make_data: Callable[..., Any]) -> None:
    data = make_data("digits")
    state = torch.get_rng_state()
    alone = [b[2] for b in Loader(data.splits["train"], Order(1293, 64, shuffle=True))]
    helped = [b[2] for b in Loader(data.splits["train"], Order(1293, 64, shuffle=True), num_workers=1)]
    assert all(map(torch.equal, alone, helped))
    assert torch.equal(state, torch.get_rng_state())


# --- batches of similar length


def real_looking(size: int) -> torch.Tensor:
    """Lengths of sentences and of their translations, `n 2`: log-normal, and alike within a pair."""
    generator = torch.Generator().manual_seed(1)
    source = (2.4 + 0.4 * torch.randn(size, generator=generator)).exp()
    ratio = (0.2 * torch.randn(size, generator=generator)).exp()
    return torch.stack([source, source * ratio], 1).round().clamp(min=1).long()


def indices(order: Order, epoch: int = 0, start: int = 0) -> list[list[int]]:
    order.set_epoch(epoch)
    order.start = start
    return [found.tolist() for _, found in order]


def test_buckets_in_training_have_each_sample_at_most_once() -> None:
    def batches(epoch: int = 0, **options: int) -> list[list[int]]:
        order = BucketOrder(lengths, 8, shuffle=True, pool=5, **{"seed": 3, **options})
        found = indices(order, epoch)
        assert len(found) == len(order)
        return found

    lengths = real_looking(331)
    whole = batches()
    assert [len(batch) for batch in whole] == [8] * (331 // 8)
    seen = [i for batch in whole for i in batch]
    assert len(set(seen)) == len(seen) == 331 // 8 * 8
    assert batches() == whole
    assert sorted(map(sorted, batches(epoch=1))) != sorted(map(sorted, whole))  # other batches, not only another order
    assert batches(seed=4) != whole
    assert len({i for epoch in range(8) for batch in batches(epoch) for i in batch}) == 331  # the remainder changes
    halves = [batches(rank=rank, world=2) for rank in (0, 1)]
    for together, left, right in zip(whole, *halves, strict=True):
        assert len(left) == len(right)
        assert sorted(left + right) == sorted(together)
    means = lengths[:, 0][torch.tensor(whole)].double().mean(1)
    trend = torch.corrcoef(torch.stack([means, torch.arange(len(means)).double()]))[0, 1]
    assert abs(trend) < 0.4  # sorted pools, but no sorted epoch


def test_buckets_go_on_within_an_epoch() -> None:
    order = BucketOrder(real_looking(331), 8, shuffle=True, pool=5)
    assert indices(order, 2, start=17) == indices(order, 2)[17:]
    assert order.start == 0
    evaluated = BucketOrder(real_looking(331), 8, shuffle=False)
    assert indices(evaluated, start=3) == indices(evaluated)[3:]
    assert {epoch for epoch, _ in evaluated} == {-1}


@pytest.mark.parametrize(("size", "world"), [(50, 1), (50, 2), (17, 2), (19, 4), (4, 4), (33, 2)])
def test_buckets_in_evaluation_have_each_sample_once(size: int, world: int) -> None:
    lengths = real_looking(size)
    shares = [indices(BucketOrder(lengths, 8, shuffle=False, rank=r, world=world)) for r in range(world)]
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(size))
    assert len({len(share) for share in shares}) == 1
    assert all(0 < len(batch) <= 8 // world for share in shares for batch in share)
    for share in shares:
        ordered = lengths[[i for batch in share for i in batch]].tolist()
        assert ordered == sorted(ordered, reverse=True)  # by the source, then by the target


def test_buckets_waste_less() -> None:
    lengths = real_looking(4000)
    order, plain = BucketOrder(lengths, 32, shuffle=True), Order(4000, 32, shuffle=True)

    def padding(batches: list[list[int]]) -> float:
        cells = sum(len(batch) * int(lengths[batch, side].max()) for batch in batches for side in (0, 1))
        return 1 - sum(int(lengths[batch].sum()) for batch in batches) / cells

    assert order.waste() == pytest.approx(padding(indices(order)))
    assert order.waste() < 0.35 * padding(indices(plain))
    assert BucketOrder(lengths, 32, shuffle=True, pool=1).waste() == pytest.approx(padding(indices(plain)), rel=0.02)
    evaluated = BucketOrder(lengths, 32, shuffle=False)
    assert evaluated.waste() == pytest.approx(padding(indices(evaluated)))
    assert BucketOrder(torch.full((40,), 7), 8, shuffle=True).waste() == 0
    assert BucketOrder(lengths.sum(1), 32, shuffle=True).waste() < order.waste()
    one_side = BucketOrder(torch.tensor([1, 3]), 2, shuffle=True)
    assert one_side.waste() == pytest.approx(2 / 6)


def test_buckets_refuse_what_cannot_be() -> None:
    with pytest.raises(UserError, match=r"more than the 5 training samples: use data.batch_size=5"):
        BucketOrder(torch.ones(5), 8, shuffle=True)
    with pytest.raises(UserError, match="multiple of the 2 processes"):
        BucketOrder(torch.ones(50), 7, shuffle=True, world=2)


# --- each class equally often


def shares(order: Order, labels: torch.Tensor, epoch: int = 0) -> list[int]:
    order.set_epoch(epoch)
    drawn = torch.cat([found for _, found in order]) % len(labels)
    return torch.bincount(labels[drawn], minlength=int(labels.max()) + 1).tolist()


RARE = torch.tensor([0] * 80 + [1] * 15 + [3] * 5)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]


def test_balanced_sampling_has_each_class_equally_often() -> None:
    order = Order(100, 9, shuffle=True, seed=3, labels=RARE)
    assert len(order) == 11  # an epoch is as long as without
    assert [sorted(shares(order, RARE, epoch)) for epoch in range(5)] == [[0, 33, 33, 33]] * 5
    assert sorted(shares(Order(100, 10, shuffle=True, labels=RARE), RARE)) == [0, 33, 33, 34]
    drawn = torch.cat([found for _, found in order])
    times = torch.bincount(drawn, minlength=100)
    assert times[RARE == 0].max() == 1  # of a frequent class no sample twice
    assert set(times[RARE == 1].tolist()) == {2, 3}
    assert set(times[RARE == 3].tolist()) == {6, 7}


def test_balanced_sampling_is_a_function_of_seed_and_epoch() -> None:
    def drawn(epoch: int = 0, start: int = 0, **options: int) -> list[list[int]]:
        order = Order(100, 8, shuffle=True, labels=RARE, **{"seed": 3, **options})
        return indices(order, epoch, start)

    whole = drawn(epoch=2)
    assert drawn(epoch=2) == whole
    assert drawn(epoch=2, start=5) == whole[5:]
    assert drawn(epoch=3) != whole
    assert drawn(epoch=2, seed=4) != whole
    halves = [drawn(epoch=2, rank=rank, world=2) for rank in (0, 1)]
    for together, left, right in zip(whole, *halves, strict=True):
        assert together[::2] == left
        assert together[1::2] == right
    frequent = set((RARE == 0).nonzero()[:, 0].tolist())
    seen = {i for epoch in range(12) for batch in drawn(epoch) for i in batch}
    assert frequent <= seen  # the part that is left out is another one in each epoch


def test_a_sample_that_comes_again_has_random_numbers_of_its_own() -> None:
    order = Order(100, 10, shuffle=True, labels=RARE, again=True)
    drawn = torch.cat([found for _, found in order])
    assert len(drawn.unique()) == len(drawn) == 100
    plain = Order(100, 10, shuffle=True, labels=RARE)
    assert torch.equal(drawn % 100, torch.cat([found for _, found in plain]))
    data = InMemoryImages(torch.arange(100).view(100, 1, 1, 1).to(torch.uint8), RARE)
    images, labels, numbers, _ = data[0, drawn]
    assert torch.equal(images.flatten().long(), drawn % 100)
    assert torch.equal(labels, RARE[drawn % 100])
    assert torch.equal(numbers, drawn)  # by which augmentation is drawn


def test_balanced_buckets() -> None:
    lengths = torch.arange(100) % 17 + 3
    order = BucketOrder(lengths, 9, shuffle=True, labels=RARE, pool=3)
    assert sorted(shares(order, RARE)) == [0, 33, 33, 33]
    assert indices(order, 1) == indices(BucketOrder(lengths, 9, shuffle=True, labels=RARE, pool=3), 1)
    assert indices(order, 1) != indices(order, 2)
    assert order.waste() < BucketOrder(lengths, 9, shuffle=True, labels=RARE, pool=1).waste()


KINDS = ("digits", "image_folder", "digits_rows", "fsdd", "sound_folder", "text_csv", "ucr", "logic")


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_with_classes_can_be_balanced(name: str, make_data: Callable[..., Any]) -> None:
    data = make_data(name, "data.sampling=balanced")
    labels = data.labels_of("train")
    loader = data.train_dataloader()
    counts = torch.bincount(torch.cat([data.transform(batch)[-1] for batch in loader]))
    there = counts[labels.unique()]
    assert int(there.max() - there.min()) <= 1
    first, again = (data.transform(next(iter(data.train_dataloader())))[0] for _ in range(2))
    assert torch.equal(first, again)
    natural = torch.cat([data.transform(batch)[-1] for batch in data.val_dataloader()])
    assert torch.equal(torch.bincount(natural), torch.bincount(data.labels_of("val")))  # evaluation is as it is


def test_what_cannot_be_balanced_is_refused(make_data: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"data.sampling=rare must be balanced, or null"):
        Digits(in_channels=1, image_size=8, num_classes=10, sampling="rare")
    data = make_data("weather", "+data.sampling=balanced")
    with pytest.raises(UserError, match="data with a class for each sample"):
        data.train_dataloader()


# --- streams


def batches(order: StreamOrder, epoch: int = 0) -> list[torch.Tensor]:
    order.set_epoch(epoch)
    return [positions for _, positions in order]


@pytest.mark.parametrize(("size", "rows", "context"), [(1000, 4, 10), (55, 4, 10), (1003, 7, 16), (9, 2, 2)])
def test_streams_of_training_go_on(size: int, rows: int, context: int) -> None:
    found = batches(StreamOrder(size, rows, context, shuffle=True))
    assert len(found) == len(StreamOrder(size, rows, context, shuffle=True)) > 0
    assert all(positions.shape == (rows, context + 1) for positions in found)
    for before, after in itertools.pairwise(found):
        assert torch.equal(before[:, -1], after[:, 0])
    predicted = torch.cat([positions[:, 1:].flatten() for positions in found])
    assert len(predicted.unique()) == len(predicted) > size - 1 - (rows + 1) * context
    assert 0 <= int(found[0].min()) <= int(found[-1].max()) < size
    joined = torch.cat([found[0][:, :1], *(positions[:, 1:] for positions in found)], 1)
    assert (joined.diff(dim=1) == 1).all()


def test_streams_begin_elsewhere_in_each_epoch() -> None:
    order = StreamOrder(1000, 4, 10, shuffle=True, seed=3)
    starts = {int(batches(order, epoch)[0][0, 0]) for epoch in range(40)}
    assert len(starts) > 10
    assert max(starts) < 1000 - 4 * 10 * len(order)
    assert torch.equal(batches(order, 7)[0], batches(StreamOrder(1000, 4, 10, shuffle=True, seed=3), 7)[0])
    assert not torch.equal(batches(order, 7)[0], batches(StreamOrder(1000, 4, 10, shuffle=True, seed=4), 7)[0])
    whole = batches(order, 7)
    order.start = 5
    assert all(map(torch.equal, batches(order, 7), whole[5:]))
    assert len(batches(order, 7)) == len(whole)


CASES = [(1000, 4, 10), (1001, 4, 10), (1003, 4, 10), (45, 4, 10), (30, 8, 10), (1002, 5, 200), (64, 3, 7), (9, 4, 1)]


@pytest.mark.parametrize(("size", "rows", "context"), CASES)
def test_streams_of_evaluation_predict_each_token_once(size: int, rows: int, context: int) -> None:
    order = StreamOrder(size, rows, context, shuffle=False)
    found = batches(order)
    assert len(found) == len(order)
    predicted = torch.cat([positions[:, 1:].flatten() for positions in found])
    assert predicted.sort().values.tolist() == list(range(1, size))
    for before, after in itertools.pairwise(found):
        assert torch.equal(before[: len(after), -1], after[:, 0])  # rows drop out at the end of the batch only
        assert after.shape[1] - 1 <= context


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("size", [1000, 1001, 1005])
def test_processes_share_the_streams(shuffle: bool, size: int) -> None:
    whole = batches(StreamOrder(size, 6, 10, shuffle=shuffle))
    shares = [batches(StreamOrder(size, 6, 10, shuffle=shuffle, rank=rank, world=2)) for rank in range(2)]
    for rank, share in enumerate(shares):
        assert torch.equal(share[0], whole[0][rank::2])
        for before, after in itertools.pairwise(share):
            assert torch.equal(before[: len(after), -1], after[:, 0])
    if shuffle:
        assert len(shares[0]) == len(shares[1]) == len(whole)
    else:
        predicted = torch.cat([positions[:, 1:].flatten() for share in shares for positions in share])
        assert predicted.sort().values.tolist() == list(range(1, size))
        assert abs(len(shares[0]) - len(shares[1])) <= 1


def test_streams_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"8 streams of data.context=10 need more than the 70 tokens.*batch_size=6"):
        StreamOrder(70, 8, 10, shuffle=True)
    assert len(StreamOrder(70, 6, 10, shuffle=True)) == 1
    with pytest.raises(UserError, match="multiple of the 2 processes"):
        StreamOrder(700, 7, 10, shuffle=True, world=2)


def test_workers_read_the_same_streams() -> None:
    text = Streams(torch.arange(100), 8)
    alone, helped = ([b[0] for b in Loader(text, StreamOrder(100, 4, 8, shuffle=True), num_workers=n)] for n in (0, 1))
    assert all(map(torch.equal, alone, helped))
