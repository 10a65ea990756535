"""Sequence to sequence: a target, token by token, from a source."""

import logging
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from torch import Tensor, nn

from ..errors import UserError
from ..generate.beams import beam_search
from ..generate.decoding import greedy
from ..metrics.figures import Figure, Reports
from ..models.contract import EncoderDecoder
from ..training.durations import Duration
from .base import MakeOptimizer, MakeSchedule, Task

PADDING, BEGIN, END = 0, 1, 2  # of source and target
LONGER = 50  # tokens that an output may have more than its source (Vaswani et al. 2017, arXiv:1706.03762, section 6.1)
log = logging.getLogger(__name__)


class SequenceToSequence(Task):
    """Translation, with teacher forcing: each target token from the source and the true tokens before it.

    Network: (source `b s`, target `b t`, lengths `b`) -> logits `b t v`, and the same in parts: `read` and `advance`.
    Batch: (source `b s`, lengths `b`, target `b t+1`, indices `b`), the targets between <bos> and <eos>, all padded
    behind with token 0, which counts nowhere. Figures: loss (nats a target token, <eos> among them), perplexity and
    accuracy of the tokens. In evaluation sentences are translated, too, without a look at their targets: exact_match,
    the share of outputs that are their references, character for character, and exact_match_long, the same of sources
    that are longer than the median; BLEU (Papineni et al. 2002) and chrF (Popović 2015) from 0 to 100, of all sentences
    together, by sacrebleu, whose signatures are in the log. They do not depend on the number of processes.

    Args:
        network, optimizer, schedule: see `Task`.
        label_smoothing: ε, what the true class gives to others. In training only; perplexity is that of no smoothing.
        smoothing: "uniform": ε/K to each of K classes, so that the true one has 1-ε+ε/K (Szegedy et al. 2015,
            arXiv:1512.00567, section 7, and torch); "others": ε/(K-1) to each other class, so that it has 1-ε.
        sampling: the probability with which the decoder's next input is the network's own likeliest token in place of
            the true one (scheduled sampling: Bengio et al. 2015, arXiv:1506.03099, section 2.4). Over 0 training goes
            token by token.
        sampling_warmup: a duration in which this probability rises from 0 on a straight line.
        decode: the most validation sentences that are translated in each epoch, always the same ones; 0: none. Of the
            test all are.
        beams: of beam search in validation; 1: greedily.
        test_beams: the same in the test.
        length_penalty: of beam search, see `decoding.beam_search`.
        bleu_tokenize: sacrebleu's tokeniser.
        lowercase: whether outputs are compared in lower case, as of data without any other.
        monitor: the validation figure by which the best weights are chosen: loss, bleu or exact_match.
        common: L1 penalty and so on, see `Task`.

    Attributes:
        signatures: of sacrebleu, once there was a translation to judge.

    Raises:
        ValueError: a network that cannot decode, a number out of range, or an unknown word.
    """

    name = "seq2seq"
    reports: ClassVar[Reports] = {
        "bleu": Figure("higher", headline=True, chooses=True, tabled=True),
        "exact_match": Figure("higher", "%", chooses=True, tabled=True),
        "exact_match_long": Figure("higher", "%", tabled=True),
        "chrf": Figure("higher", tabled=True),
        "accuracy": Figure("higher", "%", tabled=True),
        "perplexity": Figure("lower"),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        label_smoothing: float = 0.0,
        smoothing: Literal["uniform", "others"] = "uniform",
        sampling: float = 0.0,
        sampling_warmup: str = "0%",
        decode: int = 1000,
        beams: int = 1,
        test_beams: int = 5,
        length_penalty: float = 0.6,
        bleu_tokenize: str = "13a",
        lowercase: bool = False,
        monitor: Literal["loss", "bleu", "exact_match"] = "loss",
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        if not isinstance(network, EncoderDecoder):
            raise ValueError(
                f"{type(network).__name__} has no encoder and decoder: use a network that has, as in model=transformer"
            )
        if not 0 <= label_smoothing <= 0.5:
            raise ValueError(f"task.label_smoothing={label_smoothing} must be from 0 to 0.5")
        if smoothing not in ("uniform", "others"):
            raise ValueError(f"task.smoothing={smoothing} must be uniform or others")
        if not 0 <= sampling <= 1:
            raise ValueError(f"task.sampling={sampling} is a probability: it must be from 0 to 1")
        if decode < 0 or beams < 1 or test_beams < 1 or length_penalty < 0:
            raise ValueError(
                f"task.beams={beams} and task.test_beams={test_beams} must be positive, task.decode={decode} and "
                f"task.length_penalty={length_penalty} not negative"
            )
        if bleu_tokenize not in BLEU.TOKENIZERS:
            raise ValueError(f"task.bleu_tokenize={bleu_tokenize} must be one of {', '.join(BLEU.TOKENIZERS)}")
        self.monitor, self.mode = self.compared_by({"monitor": monitor})
        if monitor != "loss" and not decode:
            raise ValueError(f"task.monitor={monitor} needs translations: use task.decode=1000 or task.monitor=loss")
        Duration.parse(sampling_warmup, "task.sampling_warmup")
        self.label_smoothing, self.smoothing = label_smoothing, smoothing
        self.sampling, self.sampling_warmup, self.warmup_steps = sampling, sampling_warmup, 0
        self.decode, self.length_penalty = decode, length_penalty
        self.beams = {"val": beams, "test": test_beams}
        self.bleu_tokenize, self.lowercase = bleu_tokenize, lowercase
        self.chosen: dict[str, Tensor] = {}  # of a stage, which of its sentences are translated
        self.outputs: dict[str, dict[int, str]] = {}  # of a stage, by the sentence's number
        self.signatures: dict[str, str] = {}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.data.target_codec.unit == "character":
            self.headline = ("exact_match",)
        self.require_short()

    def require_short(self) -> None:
        """Refuse, before training, a sentence that the network cannot read.

        Raises:
            UserError: it names the length.
        """
        limit = self.claims.limit
        for split, pairs in self.data.splits.items():
            lengths = getattr(pairs, "lengths", None)
            if limit is None or lengths is None:
                continue
            longest = int((lengths - torch.tensor([0, 1])).max())  # the decoder gets all but the last token
            if longest > limit:
                raise UserError(
                    f"a sentence of the {split} split has {longest} tokens, more than the {limit} that the network can "
                    f"read: use model.max_length={longest}"
                )

    @property
    def data(self) -> Any:
        return self.required_data()

    def configure_optimizers(self) -> Any:
        made = super().configure_optimizers()
        self.warmup_steps = self.plan.steps(self.sampling_warmup, "task.sampling_warmup")
        return made

    # --- the loss

    def step(self, batch: Any) -> dict[str, Tensor]:
        source, lengths, target, _ = batch
        inputs, labels = target[:, :-1], target[:, 1:]
        probability = self.sampling_now if self.training else 0.0
        if probability > 0:
            logits = self.sampled(source, lengths, inputs, probability)
        else:
            logits = self.network(source, inputs, lengths)
        counted = labels != PADDING
        tokens = counted.sum().clamp(min=1)
        right = (logits.argmax(2) == labels) & counted
        out = {"metrics/accuracy": right.sum() / tokens}
        if self.training and self.label_smoothing:
            smooth, nll = self.smoothed(logits.float().log_softmax(2), labels)
            loss, plain = (torch.where(counted, x, 0).sum() / tokens for x in (smooth, nll))
            return {"loss": loss, "metrics/nll": plain.detach(), **out}
        total = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=PADDING, reduction="sum")
        return {"loss": total / tokens, **out}

    def smoothed(self, log_p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy -Σ q_k log p_k with smoothed labels, and with the labels themselves, `b t` each.

        Args:
            log_p: log-probabilities of the classes, `b t v`.
            labels: `b t`.
        """
        ε, K = self.label_smoothing, log_p.shape[2]
        nll = -log_p.gather(2, labels[..., None])[..., 0]
        of_all = -log_p.sum(2)
        if self.smoothing == "uniform":
            return (1 - ε) * nll + ε / K * of_all, nll
        return (1 - ε) * nll + ε / (K - 1) * (of_all - nll), nll

    @property
    def sampling_now(self) -> float:
        """The probability of a sampled input at this step."""
        if self._trainer is None or not self.warmup_steps:
            return self.sampling
        return self.sampling * min(1.0, self.trainer.global_step / self.warmup_steps)

    def sampled(self, source: Tensor, lengths: Tensor, inputs: Tensor, probability: float) -> Tensor:
        """Logits `b t v` where some of the inputs are the network's own tokens; no gradient passes through these."""
        network = cast(EncoderDecoder, self.network)
        state = network.read(source, lengths)
        token, found = inputs[:, :1], []
        # chance is the CPU's generator's, which a checkpoint keeps
        own = (torch.rand(len(inputs), inputs.shape[1]) < probability).to(inputs.device)
        for step in range(1, inputs.shape[1] + 1):
            logits, state = network.advance(token, state)
            found.append(logits)
            if step < inputs.shape[1]:
                token = torch.where(own[:, step : step + 1], logits.argmax(2), inputs[:, step : step + 1])
        return torch.cat(found, 1)

    def weight(self, batch: Any) -> Tensor:
        """Target tokens, <eos> among them."""
        tokens: Tensor = (batch[2][:, 1:] != PADDING).sum()
        return tokens

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        nll = means.pop("nll", means["loss"])
        return means | {"perplexity": nll.exp()}

    # --- translations

    def translate(self, source: Tensor, lengths: Tensor, beams: int = 1) -> list[str]:
        """Texts for tokens of sources `b s`, padded behind, with the network's present weights."""
        return [self.data.target_codec.decode(tokens) for tokens in self.search(source, lengths, beams)]

    def search(self, source: Tensor, lengths: Tensor, beams: int = 1) -> list[Tensor]:
        """The same as tokens `n` on the CPU, without <bos> and <eos>; greedily, or the best of so many beams."""
        source = source[:, : int(lengths.max())]
        limits: dict[str, Any] = {"begin": BEGIN, "end": END, "max_length": lengths + LONGER}
        if beams == 1:
            return greedy(self.network, source, lengths, **limits)
        found = beam_search(self.network, source, lengths, beams=beams, length_penalty=self.length_penalty, **limits)
        return [hypotheses[0][0] for hypotheses in found]

    def on_validation_epoch_start(self) -> None:
        self.choose("val", self.decode)

    def on_test_epoch_start(self) -> None:
        self.choose("test", None)

    def choose(self, stage: str, most: int | None) -> None:
        """Which sentences of an epoch are translated: at most so many, the same each time, of all lengths."""
        size = len(self.data.raw(stage))
        order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
        chosen = torch.zeros(size, dtype=torch.bool)
        chosen[order[:most]] = True
        self.chosen[stage], self.outputs[stage] = chosen.to(self.device), {}

    def validation_step(self, batch: Any, _: int) -> dict[str, Tensor]:
        out = super().validation_step(batch, _)
        self.translate_chosen(batch)
        return out

    def test_step(self, batch: Any, _: int) -> dict[str, Tensor]:
        out = super().test_step(batch, _)
        self.translate_chosen(batch)
        return out

    def translate_chosen(self, batch: Any) -> None:
        source, lengths, _, indices = batch
        stage = self.stage
        rows = self.chosen[stage][indices].nonzero()[:, 0]
        if len(rows):
            texts = self.translate(source[rows], lengths[rows], self.beams[stage])
            self.outputs[stage] |= dict(zip(indices[rows].tolist(), texts, strict=True))

    def close_epoch(self, stage: str) -> None:
        super().close_epoch(stage)
        outputs = self.outputs.pop(stage, None)
        if outputs is None:
            return
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, outputs)
            outputs = {number: text for part in gathered for number, text in part.items()}
        if outputs:
            self.figures |= {f"{stage}/{key}": value for key, value in self.judge(stage, outputs).items()}

    def metrics(self) -> dict[str, Any]:
        """BLEU and chrF of whole corpora."""
        # Outputs of word tokenisers end with " .", of which sacrebleu would warn: forced, it is silent.
        return {
            "bleu": BLEU(tokenize=self.bleu_tokenize, lowercase=self.lowercase, force=True),
            "chrf": CHRF(lowercase=self.lowercase),
        }

    def judge(self, stage: str, outputs: dict[int, str]) -> dict[str, float]:
        """Exact match, BLEU and chrF of outputs, by the number of their sentence in the split."""
        raw, numbers = self.data.raw(stage), sorted(outputs)
        pairs = [(outputs[n], raw[n][1]) for n in numbers]
        if self.lowercase:
            pairs = [(output.lower(), reference.lower()) for output, reference in pairs]
        exact = [float(output == reference) for output, reference in pairs]
        figures = {"exact_match": sum(exact) / len(exact)}
        codec = self.data.source_codec
        sizes = [len(tokens) for tokens in codec.encode_many([raw[n][0] for n in numbers])]
        if long := [hit for hit, size in zip(exact, sizes, strict=True) if size > self.data.long]:
            figures["exact_match_long"] = sum(long) / len(long)
        metrics = self.metrics()
        hypotheses, references = zip(*pairs, strict=True)
        for key, metric in metrics.items():
            figures[key] = float(metric.corpus_score(hypotheses, [references]).score)
        if not self.signatures:
            self.signatures = {key: str(metric.get_signature()) for key, metric in metrics.items()}
            if self.trainer.is_global_zero:
                for key, signature in self.signatures.items():
                    log.info("sacrebleu %s: %s", key, signature)
        return figures
