"""Names of Hugging Face's BERT and GPT-2, in both directions, and the settings that no tensor shows.

Names: `transformers/models/bert/modeling_bert.py` and `.../gpt2/modeling_gpt2.py` of transformers 5. Files of GPT-2 may
lack the prefix `transformer.`, files of an encoder alone the prefix `bert.`; BERT's oldest files say gamma and beta.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..errors import UserError
from ..models.bert import Bert
from ..models.gpt import GPT
from ..models.transformer import EncoderLayer
from .layout import Layout

SOURCE = "Hugging Face"
BERT = Layout(
    SOURCE,
    (
        ("embeddings.word_embeddings", "embedding"),
        ("embeddings.position_embeddings", "positions"),
        ("embeddings.token_type_embeddings", "segments"),
        ("embeddings.LayerNorm", "norm"),
        ("encoder.layer.{}.attention.self.query", "layers.{}.attention.qkv[0]"),
        ("encoder.layer.{}.attention.self.key", "layers.{}.attention.qkv[1]"),
        ("encoder.layer.{}.attention.self.value", "layers.{}.attention.qkv[2]"),
        ("encoder.layer.{}.attention.output.dense", "layers.{}.attention.output"),
        ("encoder.layer.{}.attention.output.LayerNorm", "layers.{}.norm1"),
        ("encoder.layer.{}.intermediate.dense", "layers.{}.up"),
        ("encoder.layer.{}.output.dense", "layers.{}.down"),
        ("encoder.layer.{}.output.LayerNorm", "layers.{}.norm2"),
        ("pooler.dense", "pooler"),
        ("cls.predictions.transform.dense", "transform"),
        ("cls.predictions.transform.LayerNorm", "transform_norm"),
        ("cls.predictions.decoder.weight", "logits.weight"),
        ("cls.predictions.bias", "logits.bias"),
        ("cls.seq_relationship", "next_sentence"),
        ("classifier", "classifier"),
    ),
    marks=(r"embeddings\.token_type_embeddings\.weight$", r"encoder\.layer\.0\.attention\.self\.query\.weight$"),
    prefix="bert.",
    bare=("cls.", "classifier", "qa_outputs"),
    before=(
        (r"LayerNorm\.gamma$", "LayerNorm.weight"),
        (r"LayerNorm\.beta$", "LayerNorm.bias"),
        (r"^qa_outputs\.", "classifier."),
    ),
)
GPT2 = Layout(
    SOURCE,
    (
        ("wte", "embedding"),
        ("wpe.weight", "positions.embedding.weight"),
        ("h.{}.ln_1", "layers.{}.norm1"),
        ("h.{}.attn.c_attn", "layers.{}.attention.qkv"),
        ("h.{}.attn.c_proj", "layers.{}.attention.output"),
        ("h.{}.ln_2", "layers.{}.norm2"),
        ("h.{}.mlp.c_fc", "layers.{}.up"),
        ("h.{}.mlp.c_proj", "layers.{}.down"),
        ("ln_f", "norm"),
        ("lm_head.weight", "logits.weight"),
    ),
    marks=(r"(^|\.)wte\.weight$", r"(^|\.)h\.0\.attn\.c_attn\.weight$"),
    prefix="transformer.",
    bare=("lm_head",),
    transposed=(
        "layers.{}.attention.qkv", "layers.{}.attention.output", "layers.{}.up", "layers.{}.down",
    ),
)  # fmt: skip
LAYOUTS = {"bert": BERT, "gpt2": GPT2}
NAMINGS = tuple(layout.naming() for layout in LAYOUTS.values())
TASKS = {
    "masked": "BertForPreTraining",
    "sequence": "BertForSequenceClassification",
    "step": "BertForTokenClassification",
    "span": "BertForQuestionAnswering",
}
GELU_TANH = ("gelu_new", "gelu_pytorch_tanh")


def config_of(network: nn.Module) -> dict[str, Any]:
    """The config.json of transformers for one of our networks.

    Raises:
        UserError: transformers has no such network.
    """
    if not isinstance(network, Bert | GPT):
        kind = type(network).__name__
        raise UserError(f"Hugging Face's layout is for bert_*, gpt* and vit_* networks, and this is a {kind}")
    layer = network.layers[0]
    assert isinstance(layer, EncoderLayer)
    vocab_size, dim = network.embedding.weight.shape
    heads, depth = layer.attention.heads, len(network.layers)
    if isinstance(network, Bert):
        return {
            "model_type": "bert", "architectures": [TASKS[network.targets]], "vocab_size": vocab_size,
            "hidden_size": dim, "num_hidden_layers": depth, "num_attention_heads": heads,
            "intermediate_size": layer.up.out_features, "hidden_act": "gelu",
            "max_position_embeddings": network.max_length, "type_vocab_size": 2, "layer_norm_eps": layer.norm1.eps,
            "hidden_dropout_prob": layer.dropout.p, "attention_probs_dropout_prob": layer.attention.dropout,
            "pad_token_id": 0,
            **({"num_labels": network.classifier.out_features} if network.targets in ("sequence", "step") else {}),
        }  # fmt: skip
    if layer.norm1.bias is None or network.positions.kind != "learned":
        raise UserError(
            "Hugging Face's GPT-2 has biases and learned positions, and this network was made with model.bias=false "
            "or other model.positions: it cannot be written in that layout"
        )
    return {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": vocab_size,
        "n_positions": network.context, "n_embd": dim, "n_layer": depth, "n_head": heads,
        "activation_function": "gelu_new", "layer_norm_epsilon": layer.norm1.eps,
        "resid_pdrop": layer.dropout.p, "embd_pdrop": network.dropout.p, "attn_pdrop": layer.attention.dropout,
        "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip


def require_same(config: Mapping[str, Any], network: nn.Module, where: str) -> None:
    """Refuse weights of a network that differs in what no tensor shows: heads, activation, epsilon.

    Args:
        config: the config.json beside the weights.
        network: ours.
        where: of the weights, for the message.

    Raises:
        UserError: it names the difference.
    """
    layer: Any = network.layers[0]  # type: ignore[index]
    ours = {"Bert": "bert", "GPT": "gpt2"}.get(type(network).__name__, "vit")
    kind = config.get("model_type") or ours
    if kind != ours and (kind, ours) != ("deit", "vit"):
        raise UserError(f"{where} holds a network of the kind {kind}, and this one is of the kind {ours}")
    wanted: tuple[str, ...]
    if ours == "gpt2":
        heads, activation, wanted = config.get("n_head"), config.get("activation_function", "gelu_new"), GELU_TANH
        eps = config.get("layer_norm_epsilon", 1e-5)
        if config.get("scale_attn_by_inverse_layer_idx") or not config.get("scale_attn_weights", True):
            raise UserError(f"{where} scales its attention otherwise than GPT-2: give other weights")
    else:
        heads, activation, wanted = config.get("num_attention_heads"), config.get("hidden_act"), ("gelu",)
        eps = config.get("layer_norm_eps") if ours == "bert" else None  # of ViT the report says it
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise UserError(f"{where} has relative positions, which BERT of the paper has not: give other weights")
    if heads is not None and heads != layer.attention.heads:
        raise UserError(
            f"{where} has {heads} heads in each layer and the network {layer.attention.heads}: add model.heads={heads}"
        )
    if activation is not None and activation not in wanted:
        raise UserError(
            f"{where} has the activation {activation} where this network has {wanted[0]}: give other weights"
        )
    if eps is not None and not isinstance(eps, int | float):
        raise UserError(f"{where} has a damaged config.json: the epsilon of its normalisations is {eps!r}")
    if eps is not None and abs(eps - layer.norm1.eps) > 0.01 * layer.norm1.eps:
        raise UserError(f"{where} has normalisations with epsilon {eps} where this network has {layer.norm1.eps}")
