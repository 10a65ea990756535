#!/usr/bin/env bash
# What a user does outside of this tree, from an empty environment on: the wheel, Python, a package of one's own, a
# notebook, five loggers, runs, a browser. Prints each step with its seconds, and ends at the first that fails.
#
#     bash scripts/outside.sh [FOLDER]      FOLDER: empty, else a temporary one; needs uv, gigabytes and a quarter of an hour
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
where="${1:-$(mktemp -d)}"
mkdir -p "$where" && cd "$where"
[ -z "$(ls -A)" ] || { echo "$where is not empty: name another folder"; exit 2; }
export VIRTUAL_ENV="$where/venv" UV_LINK_MODE="${UV_LINK_MODE:-hardlink}" WANDB_SILENT=true
unset PYTHONPATH TORCHATLAS_DATA TORCHATLAS_TRUST || true
bin="$VIRTUAL_ENV/bin"
step() { echo "== $1"; began=$SECONDS; shift; "$@"; echo "-- $((SECONDS - began)) s"; }
sizes() { echo "$(uv pip list -q 2>/dev/null | tail -n +3 | wc -l) packages, $(du -sm "$VIRTUAL_ENV" | cut -f1) MB, without CUDA's $(du -sm --exclude=nvidia --exclude=triton "$VIRTUAL_ENV" | cut -f1) MB"; }
install() { uv pip install -q -c "$root/constraints.txt" "$@"; sizes; }

uv build -q --wheel -o "$where/wheel" "$root"
rm -rf "$root/build"
uv venv -q "$VIRTUAL_ENV"
wheel="$(ls "$where"/wheel/*.whl)"
mkdir work && cd work

step "pip install torchatlas: the zoo" install "$wheel"
zoo() {
    "$bin/python" - <<'PY'
import time
begun = time.perf_counter()
import torchatlas
print(f"import {time.perf_counter() - begun:.2f} s")
network = torchatlas.create_model("resnet18", num_classes=0, in_chans=1)
print(f"resnet18 after {time.perf_counter() - begun:.1f} s: {network.num_features} features, {torchatlas.model_card('resnet18').file}")
torchatlas.save_weights(network, "w.safetensors")
print(torchatlas.load_weights(network, "w.safetensors").describe())
PY
    "$bin/torchatlas" list "resnet*" task=classification | head -4
    "$bin/torchatlas" show lenet5 | tail -4
    if "$bin/torchatlas" train; then exit 1; fi  # says what to install
}
step "a network" zoo

step "pip install torchatlas[train,serve,wandb,mlflow,comet]" install "$wheel[train,serve,wandb,mlflow,comet]"
step "torchatlas train: the first success" "$bin/torchatlas" train trainer.max_epochs=10
python_api() {
    cat > own.py <<'PY'
import torch
import torchatlas

run = torchatlas.train("mlp", data="digits", optim__lr=0.01, trainer__max_epochs=3)
print(run)
answers = torchatlas.load(run).predict(torch.rand(8, 8))
print(answers[0])
x = torch.randn(300, 1, 8, 8)
mine = torch.utils.data.TensorDataset(x, (x.mean((1, 2, 3)) > 0).long())
own = torchatlas.train("mlp", data=mine, trainer__max_epochs=2, model__image_size=8)
print(own, own.evaluate(mine))
print(run.resume(duration="4ep"))
PY
    "$bin/python" own.py
}
step "Python" python_api

own_package() {
    "$bin/torchatlas" new mypkg
    uv pip install -q -e ./mypkg pytest
    (cd mypkg && "$bin/python" -m pytest -q)
    printf 'import torch\n\n\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.all = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10))\n\n    def forward(self, x):\n        return self.all(x)\n' > mine.py
    "$bin/torchatlas" train model._target_=mine.Net trainer.max_epochs=2 logger=none | tail -4
}
step "a package of one's own" own_package

notebook() {
    uv pip install -q nbformat nbclient ipykernel
    "$bin/python" - <<'PY'
import nbclient, nbformat
cells = ["import torchatlas", "run = torchatlas.train('mlp', trainer__max_epochs=2)", "sorted(run.figures)[:3], run.predict(__import__('numpy').zeros((8, 8)))"]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
nbclient.NotebookClient(notebook, timeout=600).execute()
for cell in notebook.cells:
    for output in cell.outputs:
        print(str(output.get("text") or output.get("data", {}).get("text/plain"))[:600])
PY
}
step "a notebook" notebook

loggers() {
    "$bin/torchatlas" train logger=tensorboard,csv,wandb,mlflow,comet trainer.max_epochs=2 hydra.run.dir=logged
    find logged -maxdepth 2 | grep -vE "checkpoints/|\.log$" | sort
}
step "five loggers at once" loggers

runs() {
    "$bin/torchatlas" train model=mlp optim.lr=0.02 duration=2ep resume=auto | tail -2
    "$bin/torchatlas" train model=mlp optim.lr=0.02 duration=2ep resume=auto
    "$bin/torchatlas" train --config logged/config.yaml optim.lr=.05 logger=csv hydra.run.dir=again | tail -3
    "$bin/torchatlas" train folds=3 duration=2ep hydra.run.dir=folded | tail -14
    "$bin/torchatlas" train -m optim.lr=0.01,0.1 duration=1ep logger=none | tail -8
    "$bin/torchatlas" runs .
    "$bin/torchatlas" compare logged again output=compared.png
}
step "runs" runs

serve() {
    port=8765
    "$bin/torchatlas" serve ckpt=logged port=$port > serve.log 2>&1 &
    server=$!
    trap 'kill $server 2>/dev/null || true' EXIT
    for _ in $(seq 120); do curl -sf "http://127.0.0.1:$port/ready" > /dev/null && break; sleep 1; done
    curl -s "http://127.0.0.1:$port/describe" | head -c 300; echo
    "$bin/python" -c "import numpy as np; from PIL import Image; Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3).resize((64, 64)).save('photo.png')"
    curl -s -F file=@photo.png "http://127.0.0.1:$port/predict" | head -c 300; echo
    if browser="$(command -v chromium || command -v google-chrome)"; then
        "$browser" --headless --no-sandbox --disable-gpu --window-size=900,900 --virtual-time-budget=5000 --screenshot="$where/page.png" "http://127.0.0.1:$port/" > /dev/null 2>&1
        echo "picture of the page: $where/page.png"
    else
        echo "no browser here: the page was not looked at"
    fi
    kill -TERM $server && wait $server && echo "ended with status 0"
}
step "the network behind HTTP, with a browser" serve
echo "all done in $SECONDS s, in $where"
