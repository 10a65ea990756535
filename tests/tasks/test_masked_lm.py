"""Masked language models: the task against Hugging Face's, and going on."""

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train
from helpers.masked import WORDS, Toy
from helpers.stopping import StopsWithin, equal, stopped
from torch import Tensor, nn

from torchatlas.data.masked.base import MaskedText
from torchatlas.data.masked.hiding import IGNORED
from torchatlas.models.bert import Bert
from torchatlas.tasks.masked_lm import MaskedLM

# --- the task


class Knows(nn.Module):
    """Answers with fixed logits; the tokens as they were, or nothing at all."""

    def __init__(self, labels: Tensor, is_next: Tensor, size: int, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.answers = nn.functional.one_hot(labels.clamp(min=0), size).float()
        self.next_answers = nn.functional.one_hot(is_next, 2).float()

    def forward(self, *_: Tensor) -> tuple[Tensor, Tensor]:
        return self.scale * self.answers, self.scale * self.next_answers


def batch_of(data: MaskedText) -> tuple[Tensor, ...]:
    """Six samples, of which the first are short."""
    pairs = data.splits["train"]
    _, lengths, *_ = pairs[0, torch.arange(len(pairs))]
    return data.transform(pairs[0, lengths.argsort()[[0, 1, 2, -3, -2, -1]]])


@pytest.fixture(scope="module")
def toy() -> Toy:
    data = Toy(vocab_size=60, context=32, batch_size=4)
    data.setup()
    return data


def figures_of(task: MaskedLM, batches: list[tuple[Tensor, ...]]) -> dict[str, float]:
    """Sums over batches, then figures, as `Task` makes them."""
    sums: dict[str, Tensor] = {}
    count = 0
    for batch in batches:
        weight = task.weight(batch)
        for key, value in task.step(batch).items():
            name = key.removeprefix("metrics/")
            sums[name] = sums.get(name, torch.zeros(())) + value.detach() * weight
        count += weight
    return {key: float(value) for key, value in task.derive({k: v / count for k, v in sums.items()}).items()}


def test_perfect_and_uniform_predictions(toy: Toy) -> None:
    batch = batch_of(toy)
    perfect = MaskedLM(Knows(batch[4], batch[5], 60, 50.0))
    assert perfect.step(batch)["loss"].item() == pytest.approx(0, abs=1e-6)
    figures = figures_of(perfect, [batch])
    assert figures["masked_accuracy"] == pytest.approx(1)
    assert figures["next_sentence_accuracy"] == 1
    uniform = MaskedLM(Knows(batch[4], batch[5], 60, 0.0))
    assert uniform.step(batch)["loss"].item() == pytest.approx(math.log(60) + math.log(2), rel=1e-6)
    figures = figures_of(uniform, [batch])
    assert figures["masked_nll"] == pytest.approx(math.log(60), rel=1e-6)
    assert figures["perplexity"] == pytest.approx(60, rel=1e-5)
    alone = MaskedLM(Knows(batch[4], batch[5], 60, 0.0), next_sentence=False)
    assert alone.step(batch)["loss"].item() == pytest.approx(math.log(60), rel=1e-6)
    assert set(figures_of(alone, [batch])) == {"loss", "masked_nll", "masked_accuracy", "perplexity"}


def network(size: int = 60) -> Bert:
    torch.manual_seed(1)
    return Bert(vocab_size=size, max_length=48, dim=32, depth=2, heads=4).eval()


def test_padding_changes_nothing(toy: Toy) -> None:
    tokens, lengths, segments, positions, labels, is_next = batch_of(toy)
    assert int(lengths.min()) < 32
    task = MaskedLM(network())
    longer = (
        nn.functional.pad(tokens, (0, 9)),
        lengths,
        nn.functional.pad(segments, (0, 9)),
        nn.functional.pad(positions, (0, 3)),
        nn.functional.pad(labels, (0, 3), value=IGNORED),
        is_next,
    )
    one, two = (
        figures_of(task, [batch]) for batch in ((tokens, lengths, segments, positions, labels, is_next), longer)
    )
    assert one == pytest.approx(two, rel=1e-5)


def test_figures_of_an_epoch_are_means_over_tokens_and_over_samples(toy: Toy) -> None:
    """Whatever the batches are, and although samples differ in how many tokens are selected."""
    task = MaskedLM(network())
    batch = batch_of(toy)
    parts = [tuple(x[k] for x in batch) for k in (slice(0, 1), slice(1, 4), slice(4, 6))]
    assert len({int((part[4] != IGNORED).sum()) / len(part[4]) for part in parts}) > 1
    assert figures_of(task, parts) == pytest.approx(figures_of(task, [batch]), rel=1e-5)


def test_processes_together_learn_from_each_token_alike(toy: Toy) -> None:
    """The mean over processes of the gradients is the gradient of the whole batch."""
    model = network()
    task = MaskedLM(model).train()
    model.eval()
    batch = batch_of(toy)
    task.step(batch)["loss"].backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    halves = [tuple(x[k::2] for x in batch) for k in (0, 1)]
    numbers = [int((half[4] != IGNORED).sum()) for half in halves]
    assert numbers[0] != numbers[1]

    class Strategy:
        @staticmethod
        def reduce(number: Tensor, reduce_op: str) -> Tensor:
            assert reduce_op == "mean"
            return torch.tensor(sum(numbers) / 2)

    task._trainer = type("Two", (), {"world_size": 2, "strategy": Strategy})()  # type: ignore[assignment]
    for half in halves:
        (task.step(half)["loss"] / 2).backward()
    for want, parameter in zip(expected, (p for p in model.parameters() if p.grad is not None), strict=True):
        torch.testing.assert_close(parameter.grad, want, rtol=1e-4, atol=1e-6)


def hugging_face_of(model: Bert) -> Any:
    """Hugging Face's network for pre-training, with our weights."""
    from transformers import BertConfig, BertForPreTraining

    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=48,
    )  # fmt: skip
    names = {
        "embedding": "bert.embeddings.word_embeddings",
        "positions": "bert.embeddings.position_embeddings",
        "segments": "bert.embeddings.token_type_embeddings",
        "norm": "bert.embeddings.LayerNorm",
        "pooler": "bert.pooler.dense",
        "transform": "cls.predictions.transform.dense",
        "transform_norm": "cls.predictions.transform.LayerNorm",
        "logits": "cls.predictions.decoder",
        "next_sentence": "cls.seq_relationship",
    }
    for i in range(2):
        ours, theirs = f"layers.{i}.", f"bert.encoder.layer.{i}."
        names |= {
            f"{ours}attention.output": f"{theirs}attention.output.dense",
            f"{ours}norm1": f"{theirs}attention.output.LayerNorm",
            f"{ours}up": f"{theirs}intermediate.dense",
            f"{ours}down": f"{theirs}output.dense",
            f"{ours}norm2": f"{theirs}output.LayerNorm",
        }
    state = {}
    for key, value in model.state_dict().items():
        module, _, kind = key.rpartition(".")
        if module.endswith("qkv"):
            layer = module.split(".")[1]
            for name, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[f"bert.encoder.layer.{layer}.attention.self.{name}.{kind}"] = part
        else:
            state[f"{names[module]}.{kind}"] = value
    state["cls.predictions.bias"] = state["cls.predictions.decoder.bias"]
    found = BertForPreTraining(config)
    missing, unexpected = found.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("position_ids" in name for name in missing)
    return found.eval()


def test_loss_equals_hugging_faces(toy: Toy) -> None:
    """On the same batch, where Hugging Face's labels are -100 at all tokens that are not selected."""
    model = network()
    batch = batch_of(toy)
    tokens, lengths, segments, positions, labels, is_next = batch
    everywhere = torch.full_like(tokens, IGNORED)
    for row, places, values in zip(everywhere, positions, labels, strict=True):
        row[places[values != IGNORED]] = values[values != IGNORED]
    with torch.no_grad():
        theirs = hugging_face_of(model)(
            input_ids=tokens,
            attention_mask=(torch.arange(32) < lengths[:, None]).long(),
            token_type_ids=segments,
            labels=everywhere,
            next_sentence_label=is_next,
        )
        ours = MaskedLM(model).step(batch)["loss"]
    assert ours.item() == pytest.approx(theirs.loss.item(), rel=1e-5)


# --- through the command line

TINY = ["model=bert_tiny", "model.dim=32", "model.heads=2", "model.depth=1", "trainer=cpu", "data.batch_size=8"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Words in a fixed order, from another one on in each document."""
    found = tmp_path / "own.txt"
    texts = [" ".join((WORDS * 8)[i % 20 : i % 20 + 100 + i]).replace("small", "small.") for i in range(60)]
    found.write_text("\n\n".join(texts))
    return found


def own(path: Path) -> list[str]:
    return ["data=text_file_masked", f"data.path={path}", "data.max_tokens=60", "data.context=32"]


def test_stopped_within_an_epoch_and_resumed(path: Path, train: Train) -> None:
    """Pairs, masks, dropout, figures and curves end bit for bit, although masks are new in each epoch."""
    arguments = [*TINY, *own(path), "trainer.limit_train_batches=6", "trainer.max_epochs=3", "callbacks=default"]
    arguments += ["trainer.log_every_n_steps=2", "data.whole_words=true", "data.buckets=true"]
    whole = train(*arguments)
    part = stopped(train, StopsWithin, *arguments, status=128 + signal.SIGTERM)
    assert train(f"resume={part}") == part
    assert equal(whole, part) == []
