"""Our networks in the layouts of others: a folder that transformers reads, a state dict with torchvision's names."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import UserError
from ..models.contract import OfImages
from ..models.transformer import EncoderLayer
from ..models.vit import ViT
from .huggingface_text import LAYOUTS, config_of
from .layout import Layout

LAYERS = "encoder.layers.encoder_layer_{}"
TORCHVISION_VIT = Layout(
    "torchvision",
    (
        ("class_token", "class_token"),
        ("conv_proj", "patches"),
        ("encoder.pos_embedding", "positions"),
        (f"{LAYERS}.ln_1", "layers.{}.norm1"),
        (f"{LAYERS}.self_attention.in_proj_weight", "layers.{}.attention.qkv.weight"),
        (f"{LAYERS}.self_attention.in_proj_bias", "layers.{}.attention.qkv.bias"),
        (f"{LAYERS}.self_attention.out_proj", "layers.{}.attention.output"),
        (f"{LAYERS}.ln_2", "layers.{}.norm2"),
        (f"{LAYERS}.mlp.0", "layers.{}.up"),
        (f"{LAYERS}.mlp.3", "layers.{}.down"),
        ("encoder.ln", "norm"),
        ("heads.head", "head"),
    ),
    marks=(),
)
HUGGING_FACE_VIT = Layout(  # the names of published files; transformers 5 has others inside, and reads these
    "Hugging Face",
    (
        ("embeddings.cls_token", "class_token"),
        ("embeddings.position_embeddings", "positions"),
        ("embeddings.patch_embeddings.projection", "patches"),
        ("encoder.layer.{}.attention.attention.query", "layers.{}.attention.qkv[0]"),
        ("encoder.layer.{}.attention.attention.key", "layers.{}.attention.qkv[1]"),
        ("encoder.layer.{}.attention.attention.value", "layers.{}.attention.qkv[2]"),
        ("encoder.layer.{}.attention.output.dense", "layers.{}.attention.output"),
        ("encoder.layer.{}.layernorm_before", "layers.{}.norm1"),
        ("encoder.layer.{}.intermediate.dense", "layers.{}.up"),
        ("encoder.layer.{}.output.dense", "layers.{}.down"),
        ("encoder.layer.{}.layernorm_after", "layers.{}.norm2"),
        ("layernorm", "norm"),
        ("classifier", "head"),
    ),
    marks=(),
    prefix="vit.",
    bare=("classifier",),
)
SPECIAL = {
    "bert": {
        "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "pad_token": "[PAD]", "unk_token": "[UNK]",
    },
    "gpt2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
}  # fmt: skip
SMALL = 64  # pixels under which convolutional networks have a form that torchvision has not


def torchvision_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict under torchvision's names; those of its convolutional networks are ours.

    Raises:
        UserError: torchvision has no such network.
    """
    from .torchvision_weights import NETWORKS

    if type(network) is ViT:
        return TORCHVISION_VIT.write(network.state_dict())
    if type(network).__module__.rpartition(".")[2] not in NETWORKS:
        raise UserError(f"torchvision has no network as {type(network).__name__}: leave out the format torchvision")
    if isinstance(network, OfImages) and network.image_size < SMALL:
        raise UserError("torchvision has no form of its networks for small images: leave out the format torchvision")
    return dict(network.state_dict())


def write_folder(network: nn.Module, folder: Path, about: dict[str, Any] | None = None) -> None:
    """Write config.json and model.safetensors, which transformers reads, and what it needs to prepare inputs.

    Args:
        network: a Bert, a ViT, or a GPT with biases and learned positions.
        folder: it is made where it is missing.
        about: what a data module says of itself (`describe`): its tokeniser becomes tokenizer.json; size, mean and
            spread of images become preprocessor_config.json; names of classes stand in config.json.

    Raises:
        UserError: transformers has no such network.
    """
    about = about or {}
    config = vit_config(network) if type(network) is ViT else config_of(network)
    layout = HUGGING_FACE_VIT if config["model_type"] == "vit" else LAYOUTS[config["model_type"]]
    if (classes := about.get("classes")) and "num_labels" in config:
        del config["num_labels"]
        config |= {"id2label": {str(i): str(c) for i, c in enumerate(classes)}}
        config |= {"label2id": {str(c): i for i, c in enumerate(classes)}}
    state = dict(network.state_dict())
    state.pop("logits.weight", None)  # tied: the file has the embedding alone
    found = {key: tensor.contiguous().cpu() for key, tensor in layout.write(state).items()}
    if config["architectures"] == ["BertForQuestionAnswering"]:
        found = {key.replace("classifier.", "qa_outputs."): tensor for key, tensor in found.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(found, str(folder / "model.safetensors"), {"format": "pt"})
    (folder / "model.safetensors").chmod((folder.stat().st_mode & 0o666) | 0o600)  # safetensors: the owner alone
    _write_json(folder / "config.json", config)
    tokenizer = about.get("tokenizer") if isinstance(about.get("tokenizer"), dict) else about
    if isinstance(tokenizer, dict) and tokenizer.get("kind") == "tokenizer":
        from ..data.text.tokenizer import tokenizer_of

        tokenizer_of(tokenizer).save(folder / "tokenizer.json")
        names = SPECIAL[config["model_type"]]
        # Without its class transformers would build a tokeniser of its own, in lower case, around the vocabulary.
        _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **names})
    if {"mean", "std", "image_size"} <= about.keys():
        size = {"height": about["image_size"], "width": about["image_size"]}
        made = {"image_processor_type": "ViTImageProcessor", "size": size, "resample": 2, "rescale_factor": 1 / 255}
        made |= dict.fromkeys(("do_resize", "do_rescale", "do_normalize"), True)
        _write_json(
            folder / "preprocessor_config.json", made | {"image_mean": about["mean"], "image_std": about["std"]}
        )


def vit_config(network: ViT) -> dict[str, Any]:
    """The config.json of transformers for a ViT."""
    layer = network.layers[0]
    assert isinstance(layer, EncoderLayer)
    return {
        "model_type": "vit", "architectures": ["ViTForImageClassification"],
        "hidden_size": network.patches.out_channels, "num_hidden_layers": len(network.layers),
        "num_attention_heads": layer.attention.heads,
        "intermediate_size": layer.up.out_features, "hidden_act": "gelu", "layer_norm_eps": layer.norm1.eps,
        "hidden_dropout_prob": layer.dropout.p, "attention_probs_dropout_prob": layer.attention.dropout,
        "image_size": network.image_size, "patch_size": network.patch_size, "num_channels": network.in_channels,
        "qkv_bias": True, "num_labels": network.head.out_features,
    }  # fmt: skip


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
