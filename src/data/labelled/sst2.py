"""The Stanford Sentiment Treebank with two classes."""

from typing import Any

from .glue import Glue


class SST2(Glue):
    """Phrases and sentences of film reviews, negative or positive: 67,349 for training and 872 in the test set.

    Socher, Perelygin, Wu, Chuang, Manning, Ng and Potts 2013, "Recursive Deep Models for Semantic Compositionality Over
    a Sentiment Treebank", in the form of GLUE; see `Glue`. The test set is GLUE's development set. Training examples
    are phrases, many of them parts of one another, and a share of them validates, so that the figures of validation are
    better than those of the test.

    Args:
        common: see `Glue`.
    """

    def __init__(self, **common: Any) -> None:
        super().__init__(name="sst2", **common)
