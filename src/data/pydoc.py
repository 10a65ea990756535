"""Python's own documentation as text."""

import hashlib

from .text import CharacterData

# Shares of the characters; the first topics in the fixed order fill the test set, the next validation.
TEST_SHARE, VAL_SHARE = 0.1, 0.1


class Pydoc(CharacterData):
    """The topics of Python's built-in help, embedded in every Python: nothing to download.

    About 465,000 characters (`pydoc_data.topics`; Python Software Foundation). They differ a little between
    versions of Python, and so do figures; a run's record names the version. Whole topics go to one split,
    in the order of a checksum of their names, so that a new topic does not reshuffle the others.
    """

    def read_texts(self) -> dict[str, str]:
        from pydoc_data.topics import topics

        names = sorted(topics, key=lambda name: hashlib.sha256(name.encode()).digest())
        budget = {share: share_of * sum(map(len, topics.values())) for share, share_of in
                  (("test", TEST_SHARE), ("val", VAL_SHARE))}
        texts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for name in names:
            for split in ("test", "val", "train"):
                if split == "train" or len(topics[name]) <= budget[split]:
                    budget[split] = budget.get(split, 0) - len(topics[name])
                    texts[split].append(topics[name])
                    break
        return {split: "\n\n".join(parts) for split, parts in texts.items()}
