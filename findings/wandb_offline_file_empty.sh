#!/usr/bin/env bash
# wandb 0.31.0, offline: for 15 seconds the file of a run has a header and nothing else, whatever was logged.
#
# One would expect an offline run to write points as they are logged, so that a killed process leaves them for `wandb sync`.
# The process that writes keeps them until x_transaction_log_flush_interval (15 seconds) has passed or a buffer is full:
# what was logged since then goes with it, and a short run that is killed leaves 7 bytes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
uv venv --quiet --python 3.11 venv
uv pip install --quiet --python venv wandb==0.31.0 protobuf==7.36.2
cat > logged.py <<'PYTHON'
import os, sys, time
from pathlib import Path

os.environ["WANDB_ERROR_REPORTING"] = "false"
import wandb

interval = float(sys.argv[1])
settings = wandb.Settings(silent=True, console="off", x_transaction_log_flush_interval=interval)
run = wandb.init(dir=".", mode="offline", settings=settings)
for step in range(50):
    run.log({"loss": 1 / (step + 1)}, step=step)
time.sleep(4)
(path,) = Path("wandb").glob(f"offline-run-*-{run.id}/run-*.wandb")
size = path.stat().st_size
print(f"interval {interval:g} s, after 4 s:", "a header of 7 bytes" if size == 7 else "points" if size > 2000 else size)
sys.stdout.flush()
os._exit(0)
PYTHON
{ venv/bin/python logged.py 15; venv/bin/python logged.py 0.1; } | tee seen
diff - seen <<'SEEN'
interval 15 s, after 4 s: a header of 7 bytes
interval 0.1 s, after 4 s: points
SEEN
