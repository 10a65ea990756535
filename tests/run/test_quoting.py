"""Words with signs that Hydra reads otherwise."""

from typing import Any

import pytest

from torchatlas.errors import UserError
from torchatlas.run.compose import composed
from torchatlas.run.quoting import require_readable

VALUES = {
    "data.path=photos (1).csv": "\"data.path='photos (1).csv'\"",
    "data.path=a,b.csv": "\"data.path='a,b.csv'\"",
    "data.path=/tmp/Übung.csv": "\"data.path='/tmp/Übung.csv'\"",
    "data.path=lr=0.1/a.csv": "\"data.path='lr=0.1/a.csv'\"",
    "data.path={a}.csv": "\"data.path='{a}.csv'\"",
    "data.path=a#b.csv": "\"data.path='a#b.csv'\"",
    "data.time=it's": "\"data.time='it\\'s'\"",
    "data.series=[T (degC),load]": "\"data.series=['T (degC)',load]\"",
    "data.series=[wv (m/s), 'p, mbar', p=1]": None,
}


@pytest.mark.parametrize("word", VALUES)
def test_the_word_in_quotes_is_said_and_works(word: str) -> None:
    key, _, value = word.partition("=")
    base = ["model=n_linear", "data=series_csv", "data.path=x.csv", "data.series=[a]", "data.out_channels=1"]
    base += ["data.in_channels=1"]
    with pytest.raises(UserError, match=r"needs quotes, since|is several values") as refused:
        composed([*base, word])
    said = VALUES[word]
    if said is None:
        return
    assert said in str(refused.value)
    config: Any = composed([*base, said.strip('"')]).config  # as a shell hands it over
    found = config.data[key.removeprefix("data.")]
    assert found == (["T (degC)", "load"] if value.startswith("[") else value)


def test_words_that_hydra_reads_stay() -> None:
    require_readable(
        ["model=mlp", "+a=1", "~b", "data.series=['T (degC)']", "data.path=C:\\x y.csv", "--config-dir", "f"]
    )
    require_readable(["optim.lr=0.1,0.2", "-m"])
    with pytest.raises(UserError, match=r"is several values: add -m .*, or write \"optim\.lr='0\.1,0\.2'"):
        require_readable(["optim.lr=0.1,0.2"])
    with pytest.raises(UserError, match="has a bracket without the other one"):
        require_readable(["data.series=[T", "(degC)]"])
