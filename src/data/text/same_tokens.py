"""Token 7 has to mean what it meant: the tokeniser of a run, of its checkpoint and of its weights is one."""

from pathlib import Path
from typing import Any

from ...errors import UserError
from ...storage.checkpoints import read
from ...storage.run_folder import find_checkpoint
from .tokenizer import TokenizerCodec, load_codec


def require_same(codec: Any, path: str | None) -> None:
    """Refuse a tokeniser that is not the one of a checkpoint; a file that is gone is not needed.

    Raises:
        UserError: it names both.
    """
    if path is None or not isinstance(codec, TokenizerCodec) or not Path(path).expanduser().exists():
        return
    if (given := load_codec(path).fingerprint) != codec.fingerprint:
        raise UserError(
            f"data.tokenizer={path} is tokeniser {given}, and the checkpoint's is {codec.fingerprint}: give that "
            "one, or data.tokenizer=null to take it from the checkpoint"
        )


def require_tokens_of(weights: str, data: Any) -> None:
    """Refuse weights that were trained with other tokens.

    Args:
        weights: of a run or a folder of Hugging Face, where a tokeniser stands beside them; with others it is the
            user who knows.
        data: text, whose class fixes its characters or words (`known_codec`), or that is cut by a `tokenizer`.

    Raises:
        UserError: it names the tokeniser that fits.
    """
    source = Path(weights).expanduser()
    if source.is_file() and (source.parent / "config.json").is_file():
        source = source.parent
    known = getattr(data, "known_codec", None)
    if known is not None and (source / "checkpoints").is_dir():
        theirs, ours = read(find_checkpoint(str(source), "best"))["torchatlas"]["data"], known.describe()
        if {key: theirs.get(key) for key in ours} != ours:
            raise UserError(f"weights={weights} were trained with other characters or words: use data of the same ones")
    if not hasattr(data, "tokenizer") or not (weights.startswith("hf:") or source.exists()):
        return
    try:
        theirs_codec = load_codec(source if source.exists() else weights)
    except UserError:
        return
    given = data.tokenizer
    if given is None or load_codec(given).fingerprint != theirs_codec.fingerprint:
        raise UserError(f"weights={weights} were trained with a tokeniser of their own: add data.tokenizer={weights}")
