"""How often a run goes from one file of the package to another until its first optimiser step.

    python scripts/file_changes.py [KEY=VALUE ...] [--pairs 20]

Arguments are those of train.py; without any the run is `model=resnet18 data=cifar10 data.fake=true`. It is made in a
temporary folder and ends after its first step. What a reader has to follow is counted: each call of a function with a
name, or the body of a class, whose code is in the package `torchatlas`, from the call of `torchatlas.train.main` to the
end of the first `step` of an optimiser; a change is a call in another file than the call before it, the first call
included. Returns, the top level of modules, lambdas and comprehensions do not count, nor does what other threads do.

Printed are the number of changes, with `--pairs N` the most frequent ones, and the modules of the package that are
loaded by then, by folder: a run on images should know nothing of text.
"""

import argparse
import importlib
import sys
import tempfile
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

PACKAGE = "torchatlas"
DEFAULT = ("model=resnet18", "data=cifar10", "data.fake=true")


class FirstStep(BaseException):
    """Ends the run, past all that answers mistakes."""


class Recorder:
    """A profile function that notes the file of each call in a folder.

    Args:
        home: the folder.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.names: dict[str, str] = {}  # of each file as code objects have it; empty where it is not in the folder
        self.calls = 0
        self.files: list[str] = []  # that of each call in another file than the one before

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """See `sys.setprofile`."""
        code = frame.f_code
        if event != "call" or code.co_name.startswith("<"):
            return
        if (name := self.names.get(code.co_filename)) is None:
            path = Path(code.co_filename).resolve()
            name = path.relative_to(self.home).as_posix() if path.is_relative_to(self.home) else ""
            self.names[code.co_filename] = name
        if name:
            self.calls += 1
            if not self.files or self.files[-1] != name:
                self.files.append(name)


def record(arguments: list[str]) -> tuple[Recorder, list[str]]:
    """The calls of a run until its first step, and the modules of the package that are loaded then.

    Raises:
        SystemExit: a mistake in the arguments, or the run ends without a step.
    """
    program = importlib.import_module(f"{PACKAGE}.train")
    recorder = Recorder(Path(str(sys.modules[PACKAGE].__file__)).resolve().parent)
    loaded: list[str] = []

    def end(*_: Any) -> None:
        sys.setprofile(None)
        loaded.extend(sorted(name for name in sys.modules if name.split(".")[0] == PACKAGE))
        raise FirstStep

    hook = register_optimizer_step_post_hook(end)
    with tempfile.TemporaryDirectory() as folder:
        sys.argv[:] = ["train.py", *arguments, f"hydra.run.dir={folder}/run"]
        sys.setprofile(recorder)
        try:
            program.main()
        except FirstStep:
            return recorder, loaded
        finally:
            sys.setprofile(None)
            hook.remove()
    sys.exit("the run has ended without a step of an optimiser")


def main() -> None:
    """Record and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="?", const=20, default=0, help="how many of the most frequent ones")
    options, arguments = parser.parse_known_args()
    arguments = arguments or list(DEFAULT)
    recorder, loaded = record(arguments)
    files = recorder.files
    print(
        f"{' '.join(arguments)}: {len(files)} changes of file until the first step, in {recorder.calls:,} calls of "
        f"{len(set(files))} files"
    )
    pairs = Counter(pairwise(files))
    for (one, two), times in pairs.most_common(options.pairs):
        print(f"  {times:4d}  {one} -> {two}")
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for name in loaded:
        package = name if hasattr(sys.modules[name], "__path__") else name.rpartition(".")[0]
        folders[package] += [name.rpartition(".")[2]] if name != package else []
    print(f"{len(loaded)} modules are loaded")
    for package, names in sorted(folders.items()):
        print(f"  {package:<28} {len(names):3d}  {' '.join(names)}")


if __name__ == "__main__":
    main()
