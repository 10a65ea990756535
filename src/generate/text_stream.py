"""Text on the terminal while it is being written."""

import torch
from torch import Tensor

from ..data.text.base import UNKNOWN, Codec


class TextStream:
    """Text from tokens that come one by one.

    A token is decoded together with those before it, since what stands between two words, or a character of several
    tokens, belongs to neither alone. An unfinished character is held back, and so is what may begin `stop`.

    Args:
        codec: of the tokens.
        prompt: tokens before the first one, `t`.
        stop: a text at which the stream ends; it is no part of it. "": none.

    Attributes:
        ended: whether `stop` has come.
    """

    def __init__(self, codec: Codec, prompt: Tensor, stop: str = "") -> None:
        self.codec, self.stop, self.ended = codec, stop, False
        self.tokens = prompt.tolist()
        self.begin, self.end = 0, len(self.tokens)  # of the tokens whose text has been given last
        self.held = ""

    def push(self, token: int) -> str:
        """What is certain with one more token."""
        self.tokens.append(token)
        return self._take(finished=False)

    def close(self) -> str:
        """What has been held back."""
        rest = self._take(finished=True)
        rest, self.held = rest + self.held, ""
        return rest

    def _take(self, *, finished: bool) -> str:
        if self.ended or self.end == len(self.tokens):
            return ""
        before = self.codec.decode(torch.tensor(self.tokens[self.begin : self.end], dtype=torch.int64))
        text = self.codec.decode(torch.tensor(self.tokens[self.begin :], dtype=torch.int64))
        if text.endswith(UNKNOWN) and not finished:
            return ""
        if len(text) > len(before):  # a special token adds nothing, and what comes then needs those before it
            self.begin, self.end = self.end, len(self.tokens)
        return self._until_stop(text[len(before) :])

    def _until_stop(self, new: str) -> str:
        text = self.held + new
        if not self.stop:
            return text
        found, self.held = text.find(self.stop), ""
        if found >= 0:
            self.ended = True
            return text[:found]
        most = min(len(self.stop) - 1, len(text))
        kept = next((n for n in range(most, 0, -1) if self.stop.startswith(text[len(text) - n :])), 0)
        self.held = text[len(text) - kept :]
        return text[: len(text) - kept]
