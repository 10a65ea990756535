"""What is searched, of words."""

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from torchatlas.run.search import begun


@pytest.mark.parametrize(
    ("word", "key", "distribution"),
    [
        ("optim.lr=tag(log,interval(1e-4,1e-1))", "optim.lr", FloatDistribution(1e-4, 1e-1, log=True)),
        ("optim.lr=log(1e-4,1e-1)", "optim.lr", FloatDistribution(1e-4, 1e-1, log=True)),
        ("a=int(log(1,64))", "a", IntDistribution(1, 64, log=True)),
        ("model.dropout=interval(0,0.5)", "model.dropout", FloatDistribution(0, 0.5)),
        ("a=int(interval(1,8))", "a", IntDistribution(1, 8)),
        ("data.batch_size=range(16,129,16)", "data.batch_size", IntDistribution(16, 128, step=16)),
        ("a=range(5)", "a", IntDistribution(0, 4)),
        ("a=range(10,1,-3)", "a", IntDistribution(4, 10, step=3)),
        ("a=range(0,0.5,0.1)", "a", FloatDistribution(0, 0.4, step=0.1)),
        ("optim=choice(adamw,momentum)", "optim", CategoricalDistribution(["adamw", "momentum"])),
        ("optim=adamw,momentum", "optim", CategoricalDistribution(["adamw", "momentum"])),
        ("trainer=glob(*,exclude=[d*,g*])", "trainer", CategoricalDistribution(["auto", "cpu", "mps"])),
        ("a=true,false", "a", CategoricalDistribution([True, False])),
        ("a=0,1e-5", "a", CategoricalDistribution([0.0, 1e-5])),
        ("a=1,null", "a", CategoricalDistribution(["1", "null"])),
        ("a=[8],[16,8]", "a", CategoricalDistribution(["[8]", "[16,8]"])),
        ("+a='x y',z", "+a", CategoricalDistribution(["'x y'", "z"])),
    ],
)
def test_search_space(word: str, key: str, distribution: Any) -> None:
    search = begun([word, "model=mlp"], None, None, None)
    assert search.space == {key: distribution}
    assert search.fixed == ["model=mlp"]
    assert search.quiet == ["test=false", "logger=none"]
