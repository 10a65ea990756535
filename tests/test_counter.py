"""Random numbers as a function of seed, epoch and index."""

import pytest
import torch

from torchatlas.counter import normal, uniform

# --- order, random numbers, augmentation


def test_counter_depends_on_seed_epoch_and_index_alone() -> None:
    index = torch.arange(20_000)
    random = uniform(0, 5, index, 3)
    assert torch.equal(uniform(0, 5, index[7:9], 3), random[7:9])
    assert torch.equal(uniform(0, 5, index[:4], 2), random[:4, :2])
    assert random.min() >= 0
    assert random.max() < 1
    for other in (uniform(1, 5, index, 3), uniform(0, 6, index, 3), uniform(0, 5, index + 1, 3)[:, [1, 2, 0]]):
        joint = torch.histogramdd(torch.stack([random[:, 0], other[:, 0]], 1), 8, range=[0.0, 1, 0, 1]).hist
        expected = len(index) / 64  # chi-square over 64 cells: mean 63, standard deviation 11
        assert float(((joint - expected) ** 2 / expected).sum()) < 63 + 5 * 11
    one = torch.histc(random.flatten(), 100, 0, 1)
    assert float(((one - 600) ** 2 / 600).sum()) < 99 + 5 * 14


def test_counter_is_splitmix64() -> None:
    """The finalizer against the published algorithm in Python's own integers."""

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    gamma = 0x9E3779B97F4A7C15
    for seed, epoch, index in ((0, 0, 0), (7, 3, 12345), (2**40, 199, 49_999)):
        state = mix((seed + gamma) % 2**64)
        state = mix((state + gamma * (epoch + 1)) % 2**64)
        state = mix((state + gamma * (index + 1)) % 2**64)
        expected = [(mix((state + gamma * d) % 2**64) >> 40) / 2**24 for d in (1, 2)]
        assert uniform(seed, epoch, torch.tensor([index]), 2)[0].tolist() == expected


# --- the samplers


def test_normal_numbers_are_normal() -> None:
    x = normal(0, 7, torch.arange(1000), 101)
    assert x.shape == (1000, 101)
    assert float(x.mean()) == pytest.approx(0, abs=0.01)
    assert float(x.std()) == pytest.approx(1, abs=0.01)
    assert float((x.abs() < 1).float().mean()) == pytest.approx(0.6827, abs=0.005)
    assert abs(float((x[:, :-1] * x[:, 1:]).mean())) < 0.01
    assert torch.equal(normal(0, 7, torch.tensor([5]), 101)[0], x[5])
