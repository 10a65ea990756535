"""FID and the like against closed forms."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from torchatlas.metrics.images import frechet_distance, inception_score, kernel_distance, neighbours


def test_frechet_distance_is_that_of_two_normal_distributions() -> None:
    a, b = torch.randn(300, 8), torch.randn(200, 8) @ torch.randn(8, 8) + 0.5
    (mu_a, s_a), (mu_b, s_b) = ((x.double().mean(0).numpy(), np.cov(x.double().numpy().T)) for x in (a, b))
    expected = np.square(mu_a - mu_b).sum() + np.trace(s_a + s_b - 2 * np.real(sqrtm(s_a @ s_b)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_the_unbiased_mmd() -> None:
    a, b = torch.randn(20, 5), torch.randn(20, 5) + 0.3

    def kernel(x: Tensor, y: Tensor) -> float:
        return (float(x.double() @ y.double()) / 5 + 1) ** 3

    within = [np.mean([kernel(x[i], x[j]) for i in range(20) for j in range(20) if i != j]) for x in (a, b)]
    expected = sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    state = torch.get_rng_state()
    mean, spread = kernel_distance(a, b, subsets=3, subset=1000)  # of all: each subset is the whole
    assert (mean, spread) == (pytest.approx(expected), pytest.approx(0, abs=1e-9))
    small = [kernel_distance(a, b, seed=seed, subsets=5, subset=10) for seed in (0, 0, 1)]
    assert small[0] == small[1] != small[2]
    assert torch.equal(state, torch.get_rng_state())


def test_inception_score_runs_from_1_to_the_number_of_classes() -> None:
    assert inception_score(torch.zeros(50, 7))[0] == pytest.approx(1)
    certain = 60 * torch.eye(7).repeat(10, 1)
    assert inception_score(certain, splits=1) == (pytest.approx(7), 0)
    assert 1 < inception_score(certain, splits=10)[0] < 7  # parts of 7 do not have all classes


def test_neighbours_are_exact_and_find_copies() -> None:
    references = torch.randint(256, (103, 3, 4, 4), dtype=torch.uint8)
    queries = torch.cat([references[[57, 3]], torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8)])
    distances, places = neighbours(queries, iter(references.split(10)), 3)
    rows, columns = (x.flatten(1).double() / 255 for x in (queries, references))
    expected = (rows[:, None] - columns).square().sum(2).sqrt().sort(1)
    torch.testing.assert_close(distances, expected.values[:, :3].float())
    assert torch.equal(places, expected.indices[:, :3])
    assert distances[:2, 0].tolist() == [0, 0]
    assert places[:2, 0].tolist() == [57, 3]
