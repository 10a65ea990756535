"""`torchatlas bench` from a checkout: our trainer beside a plain loop and other programs, in turns.

    python scripts/benchmark.py [model=mlp ...] [against=alone,loop,naive] [rounds=5] [steps=200]

The words are those of `torchatlas bench`; `--rounds 5` and `--steps 200` are understood too.
"""

import sys

from torchatlas.cli import main

if __name__ == "__main__":
    main(["bench", *sys.argv[1:]])
