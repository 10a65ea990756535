"""A folder of Hugging Face, read by us and by transformers: the difference of what both compute on real sentences.

    python scripts/text_parity.py FOLDER [--name NAME]

FOLDER holds config.json, weights and tokenizer.json of a BERT or GPT-2, as `huggingface_hub` fetches them. Printed are
the largest absolute difference of the last hidden states (BERT) or the logits (GPT-2) in fp32 and with bf16 autocast,
and the size of what is compared. The sentences are of Python's own documentation.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch

from torchatlas.data.text.tokenizer import load_codec
from torchatlas.models.bert import Bert
from torchatlas.models.gpt import GPT
from torchatlas.weights import load_weights

DOCUMENT = Path(__file__).parent.parent / "docs" / "text_parity.md"


def compare(folder: Path) -> dict[str, float]:
    """Differences, by precision."""
    from transformers import AutoModel, AutoModelForCausalLM

    config = json.loads((folder / "config.json").read_text())
    codec = load_codec(folder)
    texts = [" ".join(text.split())[:400] for text in list(topics.values())[:8]]
    rows = [codec.encode(text) for text in texts]
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    attended = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
    ours: Bert | GPT
    theirs: Any
    if config["model_type"] == "bert":
        ours = Bert(
            targets="sequence", vocab_size=config["vocab_size"], max_length=config["max_position_embeddings"],
            dim=config["hidden_size"], depth=config["num_hidden_layers"], heads=config["num_attention_heads"],
        )  # fmt: skip
        theirs = AutoModel.from_pretrained(folder)
    else:
        ours = GPT(
            vocab_size=config["vocab_size"], context=config["n_positions"], dim=config["n_embd"],
            depth=config["n_layer"], heads=config["n_head"],
        )  # fmt: skip
        theirs = AutoModelForCausalLM.from_pretrained(folder)
    ours.train(False)
    print(load_weights(ours, folder).describe())

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            out = theirs(tokens, attention_mask=attended)
            if isinstance(ours, Bert):
                return ours.forward_features(tokens, lengths, None), out.last_hidden_state
            return ours(tokens), out.logits

    real = attended.bool()
    one, two = both()
    found = {"fp32": float((one - two)[real].abs().max()), "largest value": float(two[real].abs().max())}
    with torch.autocast("cpu", torch.bfloat16):
        rough, theirs_rough = both()
    found["bf16, ours to fp32"] = float((rough.float() - two)[real].abs().max())
    found["bf16, theirs to fp32"] = float((theirs_rough.float() - two)[real].abs().max())
    found["tokens"] = float(real.sum())
    return found


def main() -> None:
    """Measure, print, and with a name write `docs/text_parity.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", help="what the checkpoint is called in the table")
    options = parser.parse_args()
    found = compare(options.folder)
    for name, value in found.items():
        print(f"{name:<22} {value:.4g}")
    if options.name:
        row = f"| {options.name} | {' | '.join(f'{value:.4g}' for value in found.values())} |"
        heads = f"| checkpoint | {' | '.join(found)} |"
        DOCUMENT.write_text(
            "# Trained checkpoints of text networks\n\n"
            "Written by `scripts/text_parity.py`: weights in Hugging Face's layout, read by us and by transformers "
            f"{version('transformers')} (torch {version('torch')}, CPU). Largest absolute differences of the last "
            "hidden states over eight texts of Python's documentation, padded, and the largest of their values; with "
            "bf16 autocast, those of both networks to transformers' own in fp32.\n\n"
            f"{heads}\n|{'---|' * (len(found) + 1)}\n{row}\n"
        )


if __name__ == "__main__":
    main()
