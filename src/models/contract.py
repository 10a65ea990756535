"""What a network may say of itself, and what it may be able to do beside `forward`: all that other rooms ask of it.

Nothing here has to be there: a network of a user's that has none of it trains. What it says is read by `claims`, what
it can do is asked with `isinstance`, as in `isinstance(network, Stateful)`. A name that another room wants to know of
networks is added here first.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

State = Any  # a tensor, or tuples, lists and dictionaries of tensors, whose rows are the batch


class Claims(NamedTuple):
    """Attributes, of the class or of the network, and what it means where there is none of the name.

    Attributes:
        causal: whether an answer depends on its step and earlier ones alone; None: the network does not say.
        convolutional: whether it computes with images `b c h w`, so that channels_last may pay.
        variable_length: whether `forward` takes lengths `b` behind sequences that are padded behind.
        paired: whether `forward` takes segments `b t` behind the lengths, 0 and 1 for the two texts of a pair. Such
            a network reads in both directions.
        targets: to what it answers: "sequence", "step", "horizon", "span" or "masked"; None: the network does not say.
        heads: names of the submodules that are new for other classes.
        trunk: name of the submodule that a classifier's weights begin; None: there is no such part.
        auxiliary_weight: of the losses of the further logits that `forward` gives in training.
        distilled: whether the second of its logits in training are those that a teacher teaches (DeiT).
        margin: pixels at each border by which the answer for an image is smaller than the image.
        special_tokens: tokens before those of an image's patches; None: it has no patches.
        patch_size: side of a patch in pixels; None: it has none.
        limit: most tokens that it sees at once, on either side; None: any number.
        max_length: most tokens of a text with its special tokens; None: any number.
        state_axis: axis of a state's tensors on which the batch is, see `Stateful`.
        code: what squashes the code of an autoencoder, as in "sigmoid"; None: the network does not say.
        no_graph: why it cannot be traced to a graph; None: it can.
    """

    causal: bool | None = None
    convolutional: bool = False
    variable_length: bool = False
    paired: bool = False
    targets: str | None = None
    heads: tuple[str, ...] = ()
    trunk: str | None = None
    auxiliary_weight: float = 1.0
    distilled: bool = False
    margin: int = 0
    special_tokens: int | None = None
    patch_size: int | None = None
    limit: int | None = None
    max_length: int | None = None
    state_axis: int = 0
    code: str | None = None
    no_graph: str | None = None


def claims(network: nn.Module | type[nn.Module]) -> Claims:
    """What a network, or its class, says of itself.

    It looks for each name, which takes as long as a small layer: ask once, not in each step. A submodule or a parameter
    that has one of the names by chance is no claim.

    >>> from torchatlas.models.gpt import GPT
    >>> claims(GPT).causal, claims(GPT()).limit, claims(nn.Linear(1, 1)).limit
    (True, 8, None)
    """
    said: dict[str, Any] = {name: getattr(network, name, default) for name, default in Claims._field_defaults.items()}
    return Claims(**{name: value for name, value in said.items() if not isinstance(value, nn.Module | Tensor)})


@runtime_checkable
class Exemplified(Protocol):
    """A network of which tests, tables, graphs and exports know what it takes."""

    def example_input(self, batch: int = 2) -> tuple[Tensor, ...]:
        """Random inputs of `forward`, of the declared sizes, with so many examples."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """A network for sequences that goes on from where it was: recurrent, or with kept keys and values.

    It writes text where its answers are logits of the next token. An `EncoderDecoder` passes for one, too.
    """

    def advance(self, x: Any, state: State = None, /) -> tuple[Tensor, State]:
        """Answers `b t k` to the next steps, `b t` or `b t c`, and the state behind them.

        A state is a tensor, or tuples, lists and dictionaries of tensors, with the batch on the axis `state_axis`;
        None: nothing came before. In parts the answers are the same as at once.
        """
        ...


@runtime_checkable
class EncoderDecoder(Protocol):
    """A network that reads a source and writes a target; its `forward` takes source, target and lengths."""

    def read(self, source: Tensor, lengths: Tensor | None = None, /) -> State:
        """The state from which the decoder begins, of sources `b s`, padded behind, with lengths `b`."""
        ...

    def advance(self, target: Tensor, state: State, /) -> tuple[Tensor, State]:
        """Logits `b t v` behind the next target tokens `b t`, and the state behind them."""
        ...


@runtime_checkable
class OfImages(Protocol):
    """A network for images `b in_channels image_size image_size`; with a margin, for these and what is around them."""

    in_channels: int
    image_size: int


@runtime_checkable
class Coding(Protocol):
    """A network that turns an image into a code of few numbers, and a code into an image."""

    latent_dim: int

    def encode(self, x: Tensor, /) -> Any:
        """Codes `b latent_dim` of images `b c h w`; of a `Variational` network their mean and their log-variance."""
        ...

    def decode(self, z: Tensor, /) -> Tensor:
        """Images `b c h w` of codes `b latent_dim`, or what their distribution needs, `b k h w`."""
        ...


@runtime_checkable
class Variational(Coding, Protocol):
    """A network that gives a distribution of codes, and one of images where `variance` is not "fixed"."""

    variance: str


@runtime_checkable
class Conditional(Protocol):
    """A denoiser that may know classes: where `conditional` is true, `forward` takes labels `b` behind the steps.

    The label `num_classes` is that of no class.
    """

    conditional: bool
    num_classes: int


@runtime_checkable
class Classifying(Protocol):
    """A network that answers from features, which it also gives; see `classifier.Classifier`, and timm's networks."""

    num_features: int

    def forward_features(self, x: Any, /) -> Tensor:
        """What it computes before its head, of which the channels are `num_features`."""
        ...

    def forward_head(self, x: Any, /, pre_logits: bool = False) -> Any:
        """Its answer to features, or with `pre_logits` the values that its last layer gets."""
        ...

    def reset_classifier(self, num_classes: int, /) -> None:
        """A new last layer for so many classes; for 0 none."""
        ...


@runtime_checkable
class Fitting(Protocol):
    """A network that answers for each pixel, and that does not take images of all sizes."""

    def fits(self, side: int, /) -> int:
        """The smallest height or width, from `side` pixels up, that the network takes."""
        ...


@runtime_checkable
class Attention(Protocol):
    """A module, part of a network, that computes weights of attention.

    Where `written_out` is true, its forward computes attention by the formula and leaves in `weights` those of its last
    call, `b h t s`: row t says how much step t takes from each of s steps, and sums to one. Else `weights` stays as it
    is, and the answer is the same.
    """

    written_out: bool
    weights: Tensor | None


@runtime_checkable
class DroppingAttention(Attention, Protocol):
    """Attention that in training drops weights with the probability `dropout`."""

    dropout: float


# The member by which a class shows that it means the Protocol, and then has to have the others too.
MARKS: dict[type, str] = {
    Exemplified: "example_input",
    Stateful: "advance",
    EncoderDecoder: "read",
    OfImages: "image_size",
    Coding: "latent_dim",
    Variational: "variance",
    Conditional: "conditional",
    Classifying: "forward_features",
    Fitting: "fits",
    Attention: "written_out",
}


def positions_of(network: nn.Module) -> nn.Module | Tensor | None:
    """What tells a network its places: the parameter `1 t d` or `t d`, or the submodule, that it calls `positions`."""
    found: nn.Module | Tensor | None = getattr(network, "positions", None)
    return found
