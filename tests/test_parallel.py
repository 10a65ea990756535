"""Pairs of sentences: batches by length, codecs, splits, made dates, files of Multi30k and of a user."""

import contextlib
import gzip
import hashlib
import itertools
import json
import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf.errors import InterpolationResolutionError

from torchatlas.data.loading import BucketOrder, Order
from torchatlas.data.pairs import multi30k
from torchatlas.data.pairs.base import ParallelData
from torchatlas.data.pairs.dates import FORMATS, SHORT_FORMATS, Dates, formats
from torchatlas.data.text.tokenizer import BERT, TRANSLATION, train_codec
from torchatlas.errors import UserError

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


# --- pairs


class Toy(ParallelData):
    """Counted words in two languages."""

    def read_pairs(self) -> dict[str, list[tuple[str, str]]]:
        german, english = ("eins zwei drei vier fünf", "One two three four FIVE")
        pairs = list(zip(german.split(), english.split(), strict=True))
        many = [
            (" ".join(pairs[(i + k) % 5][0] for k in range(n)), " ".join(pairs[(i + k) % 5][1] for k in range(n)))
            for n in (1, 2, 3, 4)
            for i in range(5)
        ]
        return {"train": many, "val": [("vier", "four"), ("sechs", "six"), ("eins " * 9, "One")], "test": many[:1]}


def toy(**options: Any) -> Toy:
    data = Toy(**{"source_vocab_size": 9, "target_vocab_size": 9, "by": "word", "batch_size": 4, **options})
    data.setup()
    return data


def test_batches_hold_what_the_strings_say() -> None:
    data = toy()
    for split in ("train", "val", "test"):
        seen = []
        for batch in data.loader(split, shuffle=split == "train"):
            source, lengths, target, indices = data.transform(batch)
            assert {x.dtype for x in batch} == {torch.int64}
            assert source.shape == (len(indices), int(lengths.max()))
            assert torch.equal(lengths, (source != 0).sum(1))
            for row, n, answer, index in zip(source, lengths.tolist(), target, indices.tolist(), strict=True):
                text, translation = data.raw(split)[index]
                assert torch.equal(row[:n], data.source_codec.encode(text))
                assert not row[n:].any()
                end = int((answer != 0).sum())
                assert not answer[end:].any()
                assert (int(answer[0]), int(answer[end - 1])) == (1, 2)
                assert torch.equal(answer[1 : end - 1], data.target_codec.encode(translation))
                assert (answer == 2).sum() == (answer == 1).sum() == 1
                seen.append(index)
            assert (target != 0).sum(1).max() == target.shape[1]
        assert sorted(seen) == list(range(len(data.raw(split))))
    assert data.source_codec.decode(data.source_codec.encode("drei vier")) == "drei vier"
    assert set(data.source_codec.encode("sechs sieben").tolist()) == {3}  # of validation alone, so unknown
    assert data.long == 2


def test_splits_that_train_no_vocabulary() -> None:
    data = toy()
    assert data.source_codec.tokenizer.token_to_id("sechs") is None
    assert data.source_codec.tokenizer.token_to_id("sieben") is None


def test_small_letters_leave_the_strings_alone() -> None:
    data = toy(lowercase=True)
    assert ("vier fünf", "four FIVE") in data.raw("train")
    assert data.target_codec.decode(data.target_codec.encode("four FIVE")) == "four five"
    assert data.describe()["lowercase"] is True


def test_one_vocabulary_for_both_sides() -> None:
    data = toy(shared=True, source_vocab_size=14, target_vocab_size=14)
    assert data.source_codec is data.target_codec
    assert data.source_codec.decode(data.source_codec.encode("eins One")) == "eins One"
    with pytest.raises(UserError, match=r"use data\.source_vocab_size=14 data\.target_vocab_size=14"):
        toy(shared=True, source_vocab_size=20, target_vocab_size=20)
    with pytest.raises(UserError, match=r"use data\.target_vocab_size=14"):
        toy(shared=True, source_vocab_size=14, target_vocab_size=13)


def test_long_and_empty_pairs_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    class Gaps(Toy):
        def read_pairs(self) -> dict[str, list[tuple[str, str]]]:
            pairs = super().read_pairs()
            return {**pairs, "train": [("  ", "One"), *pairs["train"]], "val": [("eins", " "), *pairs["val"]]}

    caplog.set_level("INFO", "torchatlas")
    data = Gaps(source_vocab_size=9, target_vocab_size=9, by="word", max_length=3, batch_size=4)
    data.setup()
    assert len(data.raw("train")) == len(data.splits["train"]) == 15
    assert max(len(source.split()) for source, _ in data.raw("train")) == 3
    assert [source.split()[0] for source, _ in data.raw("val")] == ["vier", "sechs", "eins"]  # the long one stays
    source, lengths, _, _ = data.splits["val"][-1, torch.arange(3)]
    assert lengths.tolist() == [1, 1, 9]
    assert source[2].unique().numel() == 1
    assert "1 of 21 train pairs are left out, since a side of them has no token" in caplog.text
    assert "1 of 4 val pairs are left out, since a side of them has no token" in caplog.text
    assert "5 of 21 training pairs are left out, since a side of them has more than data.max_length=3" in caplog.text
    assert re.search(r"batches of similar length: \d+\.\d% of their tokens are padding, without them \d", caplog.text)


def test_a_checkpoint_keeps_the_numbers_of_the_tokens() -> None:
    data = toy()
    about = json.loads(json.dumps(data.state_dict()))
    assert about["kind"] == "translation"

    class Later(Toy):
        def read_pairs(self) -> dict[str, list[tuple[str, str]]]:
            return {
                split: [("neu " * 9 + a, "new " * 9 + b) for a, b in p] for split, p in super().read_pairs().items()
            }

    later = Later(source_vocab_size=9, target_vocab_size=9, by="word", batch_size=4)
    later.load_state_dict(about)
    later.setup()
    assert later.source_codec.encode("vier fünf").tolist() == data.source_codec.encode("vier fünf").tolist()
    assert later.target_codec.encode("four FIVE").tolist() == data.target_codec.encode("four FIVE").tolist()
    assert later.source_codec.encode("neu").tolist() == [3]


def test_pairs_refuse_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.source_vocab_size=11 is not the 9 of these data: use data\.source_vo"):
        toy(source_vocab_size=11)
    with pytest.raises(UserError, match=r"data\.target_vocab_size=12 is not the 9 of these data: use data\.target_vo"):
        toy(target_vocab_size=12)
    with pytest.raises(UserError, match=r"data\.source_vocab_size=30 has no room .* use at least 260"):
        toy(by="bpe", source_vocab_size=30)
    with pytest.raises(UserError, match=r"data\.by=letter must be bpe, wordpiece, word or character"):
        toy(by="letter")
    with pytest.raises(UserError, match=r"data\.source_vocab_size=4 must be more than the 4 special tokens"):
        toy(source_vocab_size=4)
    too_long = Toy(source_vocab_size=9, target_vocab_size=9, by="word", max_length=1)
    pairs = {split: [("eins zwei drei vier fünf", "a b c d e")] for split in ("train", "val", "test")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Toy, "read_pairs", lambda self: pairs)
        with pytest.raises(UserError, match=r"no train pair has 1 to data\.max_length=1 tokens"):
            too_long.setup()
    with pytest.raises(UserError, match=r"add data\.shared=true"):
        toy(tokenizer="somewhere")
    train_codec(["eins zwei"], "word", 7, BERT).save(tmp_path / "tokenizer.json")
    with pytest.raises(UserError, match="does not number its special tokens <pad>, <bos>, <eos>, <unk> from 0 on"):
        toy(tokenizer=str(tmp_path), shared=True)


def test_a_given_tokeniser_serves_both_sides(tmp_path: Path) -> None:
    train_codec(["eins zwei One two"], "word", 8, TRANSLATION).save(tmp_path / "tokenizer.json")
    data = toy(tokenizer=str(tmp_path), shared=True, source_vocab_size=8, target_vocab_size=8)
    assert data.source_codec is data.target_codec
    assert data.target_codec.decode(data.target_codec.encode("two three")) == "two"


@pytest.mark.parametrize("sizes", [(9, 9), (200, 30)])
def test_made_data_are_reversed_copies(sizes: tuple[int, int]) -> None:
    data = toy(fake=True, source_vocab_size=sizes[0], target_vocab_size=sizes[1], batch_size=8)
    assert (data.source_codec.vocab_size, data.target_codec.vocab_size) == sizes
    for source, _, target, _ in data.train_dataloader():
        for row, answer in zip(source, target, strict=True):
            words = data.source_codec.decode(row[row != 0])
            assert data.target_codec.decode(answer).split() == words.split()[::-1]
            assert 3 not in row
            assert 3 not in answer


def test_example_has_no_values_on_the_meta_device() -> None:
    data = Toy(source_vocab_size=9, target_vocab_size=9)
    with torch.device("meta"):
        batch = data.example_batch(3)
    assert {x.device.type for x in batch} == {"meta"}
    assert [tuple(x.shape) for x in batch] == [tuple(x.shape) for x in data.example_batch(3)]
    source, lengths, target, indices = data.example_batch(3)
    assert source.shape[1] == data.long == int(lengths[0])
    assert int(source.min()) >= 4
    assert target[:, [0, -1]].tolist() == [[1, 2]] * 3
    assert indices.tolist() == [0, 1, 2]


# --- dates


@pytest.fixture(scope="module")
def made_dates() -> Dates:
    data = Dates(source_vocab_size=73, target_vocab_size=16, batch_size=64)
    data.setup()
    return data


def test_dates_have_one_answer_and_splits_are_apart(made_dates: Dates) -> None:
    raw = {split: made_dates.raw(split) for split in ("train", "val", "test")}
    assert {split: len(pairs) for split, pairs in raw.items()} == {"train": 20_000, "val": 1000, "test": 1000}
    answers: dict[str, str] = {}
    for pairs in raw.values():
        assert len({source for source, _ in pairs}) == len(pairs)
        for source, target in pairs:
            assert answers.setdefault(source.lower(), target) == target
            assert date(1900, 1, 1) <= date.fromisoformat(target) <= date(2099, 12, 31)
    days = {split: {target for _, target in pairs} for split, pairs in raw.items()}
    assert not days["train"] & days["test"]
    assert not days["train"] & days["val"]
    assert not days["val"] & days["test"]
    assert made_dates.long < 20


def test_dates_mean_one_day_in_every_form() -> None:
    answers: dict[str, date] = {}
    for year in (1900, 1904, 1911, 1949, 1950, 1984, 1999, 2000, 2001, 2012, 2049, 2050, 2099):
        for number in range(date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal() + 1):
            day = date.fromordinal(number)
            for write in formats(day):
                assert answers.setdefault(write(day).lower(), day) == day
    assert len(FORMATS + SHORT_FORMATS) == 32
    # All strings differ; 7 of the years, 3 of them leap years, have the short forms too.
    assert len(answers) == 32 * (3 * 366 + 4 * 365) + 27 * (366 + 5 * 365)


def test_dates_are_true() -> None:
    """Against Python's own reading of some of the forms."""
    days = [date(1984, 11, 23), date(2000, 2, 29), date(1950, 1, 1), date(2049, 12, 31)]
    for form in ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %B %Y", "%B %d, %Y", "%A, %d %B %Y", "%d-%b-%Y", "%Y%m%d"):
        for day in days:
            read = set()
            for write in formats(day):
                with contextlib.suppress(ValueError):
                    read.add(datetime.strptime(write(day), form).date())
            assert read == {day}
    assert formats(days[0])[24](days[0]) == "the twenty-third of November nineteen eighty-four"
    assert any(write(days[0]) == "Fri, 23 Nov '84" for write in formats(days[0]))
    assert not any("'" in write(date(1949, 5, 5)) for write in formats(date(1949, 5, 5)))


@pytest.mark.parametrize("dates", [1, 4])
def test_dates_are_known_characters_and_nothing_is_lost(dates: int) -> None:
    data = Dates(source_vocab_size=73, target_vocab_size=16, dates=dates, train_size=300, batch_size=50)
    data.setup()
    for source, target in data.raw("train"):
        assert not data.source_codec.unknown(source)
        assert data.source_codec.decode(data.source_codec.encode(source)) == source
        assert data.target_codec.decode(data.target_codec.encode(target)) == target
        assert len(data.target_codec.encode(target)) == len(target) == 11 * dates - 1
        parts = target.split(" ")
        joints = sum(source.lower().count(joint) for joint in (" and ", " then ", " until ", " but not ", "; also "))
        assert joints + 1 == len(parts) == dates


def test_all_forms_are_drawn_and_letters_in_any_case() -> None:
    data = Dates(source_vocab_size=73, target_vocab_size=16, train_size=4000)
    pairs = data.read_pairs()["train"]
    day_forms = [0] * 32
    for source, target in pairs:
        day = date.fromisoformat(target)
        found = [i for i, write in enumerate(formats(day)) if write(day).lower() == source.lower()]
        assert len(found) == 1
        day_forms[found[0]] += 1
    assert min(day_forms) > 20
    named = [source for source, _ in pairs if any(c.isalpha() for c in source)]
    assert 0.2 < sum(source.isupper() for source in named) / len(named) < 0.3
    assert 0.2 < sum(source.islower() for source in named) / len(named) < 0.3
    again = Dates(source_vocab_size=73, target_vocab_size=16, train_size=4000, seed=7).read_pairs()
    assert again["train"] == pairs  # whatever the run's seed


def test_dates_refuse_what_cannot_be() -> None:
    with pytest.raises(UserError, match=r"data\.dates=0 must be a positive number"):
        Dates(source_vocab_size=73, target_vocab_size=16, dates=0)
    with pytest.raises(UserError, match=r"data\.train_size=0 must be between"):
        Dates(source_vocab_size=73, target_vocab_size=16, train_size=0)
    with pytest.raises(UserError, match=r"use data\.source_vocab_size=73"):
        Dates(source_vocab_size=80, target_vocab_size=16, train_size=30, batch_size=10).setup()
    with pytest.raises(UserError, match=r"use data\.target_vocab_size=16"):  # too few would lose a digit
        Dates(source_vocab_size=73, target_vocab_size=15, train_size=30, batch_size=10).setup()


# --- Multi30k


@pytest.fixture
def small_multi30k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files like the true ones, but short."""
    sizes = {"train": 40, "val": 6, "test": 5}
    monkeypatch.setattr(multi30k, "SIZES", sizes)
    checksums = {}
    (tmp_path / "multi30k").mkdir()
    for split, file in multi30k.FILES.items():
        for language, words in (
            ("de", ("Mann", "Hund\u2028läuft", "Straße")),
            ("en", ("man", "dog\u2028runs", "street")),
        ):
            text = "".join(f"{words[i % 3]} {split} {i % 7} . \n" for i in range(sizes[split]))
            path = tmp_path / "multi30k" / f"{file}.{language}.gz"
            path.write_bytes(gzip.compress(text.encode()))
            checksums[path.name] = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(multi30k, "MD5", checksums)
    return tmp_path


def test_multi30k_is_read_line_by_line(small_multi30k: Path) -> None:
    data = multi30k.Multi30k(
        root=str(small_multi30k), source_vocab_size=17, target_vocab_size=17, by="word", lowercase=True, batch_size=4
    )
    data.prepare_data()
    data.setup()
    assert {split: len(data.raw(split)) for split in data.splits} == {"train": 40, "val": 6, "test": 5}
    assert data.raw("test")[:3] == [
        ("Mann test 0 .", "man test 0 ."),
        ("Hund\u2028läuft test 1 .", "dog\u2028runs test 1 ."),  # no end of a line
        ("Straße test 2 .", "street test 2 ."),
    ]
    back = multi30k.Multi30k(
        root=str(small_multi30k), source="en", target="de", source_vocab_size=17, target_vocab_size=17
    )
    assert back.read_pairs()["val"][0] == ("man val 0 .", "Mann val 0 .")


def test_multi30k_refuses_what_is_wrong(small_multi30k: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: Any = {"source_vocab_size": 17, "target_vocab_size": 17, "root": str(small_multi30k)}
    with pytest.raises(UserError, match=r"data\.source=it must be one of cs, de, en, fr"):
        multi30k.Multi30k(source="it", **sizes)
    with pytest.raises(UserError, match="two languages"):
        multi30k.Multi30k(source="en", **sizes)
    path = small_multi30k / "multi30k" / "val.de.gz"
    path.write_bytes(gzip.compress(b"Eins\n"))
    with pytest.raises(UserError, match=r"val\.de\.gz has 1 lines where 6 are right"):
        multi30k.Multi30k(**sizes).setup()
    path.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"val\.de\.gz cannot be read"):
        multi30k.Multi30k(**sizes).setup()
    monkeypatch.setattr(multi30k.Multi30k, "addresses", ("file:///nowhere/",))
    with pytest.raises(UserError, match=r"val\.de\.gz is not in"):
        multi30k.Multi30k(**sizes).prepare_data()


def test_multi30k_names_a_checksum_of_each_file() -> None:
    wanted = {f"{file}.{language}.gz" for file in multi30k.FILES.values() for language in multi30k.LANGUAGES}
    assert set(multi30k.MD5) == wanted
    assert len(set(multi30k.MD5.values())) == len(wanted)


# --- a user's own files


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """200 lines in two languages; each tenth line is empty on one side, and one source comes three times."""
    source = [f"Satz Nummer {i}\u2028hier" for i in range(200)]
    target = [f"sentence number {i}\u2028here" for i in range(200)]
    for i in range(0, 200, 10):
        (source if i % 20 else target)[i] = "  "
    source[7] = source[8] = source[9] = "dreimal"
    (tmp_path / "a.de").write_bytes(("\ufeff" + "\r\n".join(source) + "\r\n").encode())
    (tmp_path / "a.en").write_text("\n".join(target), encoding="utf-8")  # no line feed at its end
    return tmp_path


def own(compose: Callable[..., Any], *overrides: str) -> Any:
    config = compose("model=seq2seq", "data=parallel_files", "data.by=word", "data.batch_size=8", *overrides)
    data = instantiate(config.data, _convert_="all")
    data.setup()
    return data


def test_own_files_are_pairs_line_by_line(
    texts: Path, compose: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "torchatlas")
    data = own(compose, f"data.source_path={texts / 'a.de'}", f"data.target_path={texts / 'a.en'}", "data.share=0.1")
    assert "20 lines are left out, since they are empty on one side or both" in caplog.text
    raw = {split: data.raw(split) for split in data.splits}
    assert sum(map(len, raw.values())) == 180
    sources = {split: {source for source, _ in pairs} for split, pairs in raw.items()}
    assert {split: len(found) for split, found in sources.items()} == {"train": 142, "val": 18, "test": 18}
    assert len(set().union(*sources.values())) == 178  # none is in two splits
    for source, target in itertools.chain.from_iterable(raw.values()):
        if source != "dreimal":
            assert source.split()[2] == target.split()[2]
            assert source.startswith("Satz")
    assert data.source_codec.vocab_size == data.source_vocab_size < 8000
    lines = [(texts / name).read_text(encoding="utf-8-sig").split("\n")[::-1] for name in ("a.de", "a.en")]
    (texts / "b.tsv").write_text(
        "\n".join(f"{a}\t{b}\tfurther" for a, b in zip(lines[0][1:], lines[1], strict=True)) + "\n\n", encoding="utf-8"
    )
    table = own(compose, f"data.source_path={texts / 'b.tsv'}", "data.share=0.1")
    assert {split: set(table.raw(split)) for split in raw} == {split: set(raw[split]) for split in raw}  # in any order


def test_own_files_of_each_split(texts: Path, compose: Callable[..., Any]) -> None:
    for name in ("de", "en"):
        (texts / f"v.{name}").write_text(f"nur {name}\n\nSatz {name}\n")
    first = [f"data.source_path={texts / 'a.de'}", f"data.target_path={texts / 'a.en'}"]
    val = [f"data.val_source_path={texts / 'v.de'}", f"data.val_target_path={texts / 'v.en'}"]
    data = own(compose, *first, *val)
    assert data.raw("val") == [("nur de", "nur en"), ("Satz de", "Satz en")]
    assert len({source for source, _ in data.raw("test")}) == round(0.05 * 178)
    assert len(data.raw("train")) + len(data.raw("test")) == 180
    both = own(compose, *first, *val, *(word.replace("val_", "test_") for word in val))
    assert both.raw("test") == both.raw("val")
    assert len(both.raw("train")) == 180


@pytest.mark.parametrize("by", ["bpe", "wordpiece", "character"])
def test_own_files_by_other_tokens(texts: Path, compose: Callable[..., Any], by: str) -> None:
    files = [f"data.source_path={texts / 'a.de'}", f"data.target_path={texts / 'a.en'}"]
    data = own(compose, *files, f"data.by={by}", "data.shared=true", "data.max_tokens=300")
    assert data.source_vocab_size == data.target_vocab_size == data.source_codec.vocab_size <= 300
    sentence = "Satz Nummer 12"
    assert data.source_codec.decode(data.source_codec.encode(sentence)) == sentence


def test_own_files_are_counted_again_when_they_change(texts: Path, compose: Callable[..., Any]) -> None:
    files = [f"data.source_path={texts / 'a.de'}", f"data.target_path={texts / 'a.en'}"]
    before = own(compose, *files).source_vocab_size
    for name in ("a.de", "a.en"):
        text = (texts / name).read_text(encoding="utf-8").removesuffix("\n")
        with (texts / name).open("w", encoding="utf-8") as file:
            file.write(text)
            file.write("\n".join(["", *(f"w{i}" for i in range(90))]))
    assert own(compose, *files).source_vocab_size > before + 50


def test_own_files_name_what_is_wrong(texts: Path, compose: Callable[..., Any]) -> None:
    (texts / "short").write_text("one\ntwo\n")
    (texts / "empty").write_text(" \n")
    (texts / "latin").write_bytes("é\n".encode("latin1"))
    (texts / "half.tsv").write_text("a\tb\nc\n")
    (texts / "one.tsv").write_text("a\tb\n\tc\n")
    german = f"data.source_path={texts / 'a.de'}"

    def refused(message: str, *overrides: str) -> None:
        with pytest.raises((UserError, InterpolationResolutionError), match=message):
            own(compose, *overrides)

    # A resolver's error has the mistake's sentence in it, which the program shows alone.
    refused(r"name them with data\.source_path=FILE")
    refused(
        r"a\.de has 200 lines and .*short has 2: they must be translations",
        german,
        f"data.target_path={texts / 'short'}",
    )
    refused(r"empty is empty", german, f"data.target_path={texts / 'empty'}")
    refused(r"there is no file .*gone", f"data.source_path={texts / 'gone'}")
    refused(r"latin is no UTF-8 text", f"data.source_path={texts / 'latin'}")
    refused(r"line 2 of .*half\.tsv has no tab", f"data.source_path={texts / 'half.tsv'}")
    refused(r"has 1 different sources, too few", f"data.source_path={texts / 'one.tsv'}")
    refused(
        r"add data\.val_source_path=FILE",
        german,
        f"data.target_path={texts / 'a.en'}",
        f"data.val_target_path={texts / 'short'}",
    )
    refused(r"data\.share=0\.7 must be between", "data.share=0.7", "data.fake=true")
    refused(
        r"data\.max_tokens=10 has no room .* use at least",
        german,
        f"data.target_path={texts / 'a.en'}",
        "data.max_tokens=10",
        "data.by=bpe",
    )
