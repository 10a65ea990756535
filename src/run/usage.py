"""What `python train.py --help` prints."""

from ..zoo import GROUPS, headline, options

USAGE = """\
torchatlas trains the reference architectures of deep learning.

    python train.py model=resnet18 data=cifar10          choose by group
    python train.py optim.lr=0.01 trainer.max_epochs=5   change a value
    python train.py -m model=mlp,resnet18 seed=0,1,2     one run for each combination
    python train.py resume=auto                          go on with the newest run, exactly where it was
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
