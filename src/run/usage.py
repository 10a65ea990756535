"""What `python train.py --help` prints."""

import re
import shutil
import sys
import textwrap

from ..zoo import GROUPS, headline, options

USAGE = """\
torchatlas trains the reference architectures of deep learning.

    python train.py model=resnet18 data=cifar10          choose by group
    python train.py optim.lr=0.01 trainer.max_epochs=5   change a value
    python train.py -m model=mlp,resnet18 seed=0,1,2     one run for each combination
    python train.py model=mlp resume=auto                begin, or go on with this run exactly where it was
    python train.py --config RUN/config.yaml seed=1      a new run from an old one's config
    python train.py duration=2h seeds=5                  five runs of two hours; mean, spread, interval
    python train.py model=lenet5 --cfg job               show the config and do nothing
    python train.py ... debug=true                       tracebacks for mistakes
    torchatlas --help                                    what else there is

`torchatlas train` and `python -m torchatlas.train` are the same program. --hydra-help tells of Hydra's own options.
"""


def help_text() -> str:
    """The zoo by group, a line each."""
    parts = [USAGE]
    for group in GROUPS:
        names = options(group)
        width = max(len(name) for name in names)
        lines = "\n".join(f"    {name:<{width}}  {headline(group, name)}" for name in names)
        parts.append(f"{group}=\n{lines}\n")
    return "\n".join(parts)


def fitted(text: str) -> str:
    """Help as a terminal shows it: what stands behind a name goes on below itself. For others lines stay whole."""
    if not sys.stdout.isatty():
        return text
    return "\n".join(_fitted(line, max(shutil.get_terminal_size().columns, 40)) for line in text.split("\n"))


def _fitted(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    named = re.match(r" +\S.*?\S  +(?=\S)| +(?=\S)", line)
    indent = min(len(named[0]) if named else 0, width // 2)
    return "\n".join(
        textwrap.wrap(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    )
