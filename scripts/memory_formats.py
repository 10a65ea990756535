"""Both orders of a network's images in memory, timed side by side: what `torchatlas.training.memory_format` rests on.

    python scripts/memory_formats.py [resnet18,width=16,image_size=32,batch=32 ...] [--rounds 5] [--threads 1] [--infer]

An argument is a network and, after commas, options of it and the samples of a batch (8 unless said). Rounds
alternate between the two formats. Printed are the median seconds of a training step (forward and backward; with --infer
of a forward pass in eval mode), and contiguous / channels last: over 1 means that channels last is faster. Time it on a
machine that does nothing else: beside other programs the ratios are others.
"""

import argparse
import statistics
import time
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from torchatlas.training.memory_format import is_wide, memory_format
from torchatlas.zoo import create_model

NETWORKS = (
    "resnet18,image_size=64", "resnet18,image_size=32,batch=32", "resnet18,image_size=32,width=32,batch=32",
    "resnet18,image_size=32,width=16,batch=32", "resnet20,image_size=32,batch=32", "resnet56,image_size=32,batch=32",
    "wrn28_10,image_size=32,batch=2", "resnet50,image_size=64", "resnext50_32x4d,image_size=64",
    "wide_resnet50_2,image_size=64", "vgg11,image_size=64", "vgg16_bn,image_size=64", "alexnet",
    "googlenet,image_size=64", "densenet121,image_size=64", "mobilenet_v2,image_size=64",
    "efficientnet_b0,image_size=64", "autoencoder_conv", "vae_conv", "res8", "res15",
    "fcn_resnet50,image_size=64,batch=2", "fcn32s,image_size=64,batch=2", "unet_same,image_size=64,batch=2",
    "unet_same,image_size=64,width=16", "unet_resnet34,image_size=64,batch=2",
)  # fmt: skip
FORMATS = (torch.contiguous_format, torch.channels_last)


def step(network: nn.Module, inputs: tuple[Tensor, ...], training: bool) -> float:
    """Seconds of one pass."""
    start = time.perf_counter()
    with torch.set_grad_enabled(training):
        output: Any = network(*inputs)
        while not isinstance(output, Tensor):  # GoogLeNet's auxiliary outputs, a VAE's latent
            output = output[0]
        if training:
            output.square().mean().backward()
    return time.perf_counter() - start


def compare(words: str, rounds: int, training: bool) -> tuple[list[float], Any]:
    """Median seconds in each of FORMATS, and the network."""
    name, *given = words.split(",")
    options = {key: yaml.safe_load(value) for key, value in (pair.split("=") for pair in given)}
    batch = options.pop("batch", 8)
    times: list[list[float]] = [[], []]
    network: Any = create_model(name, **options).train(training)
    inputs = network.example_input(batch)
    for turn in range(rounds + 1):
        for layout, seconds in zip(FORMATS, times, strict=True):
            network.to(memory_format=layout)
            network.zero_grad(set_to_none=True)
            taken = step(network, inputs, training)
            if turn:  # the first round warms up
                seconds.append(taken)
    return [statistics.median(seconds) for seconds in times], network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--infer", action="store_true", help="forward passes in eval mode")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {given.threads} thread(s)")
    for words in given.networks:
        (contiguous, last), network = compare(words, given.rounds, not given.infer)
        wide = all(is_wide(layer) for layer in network.modules() if isinstance(layer, nn.Conv2d))
        chosen = "channels last" if memory_format(network, "cpu") == torch.channels_last else "contiguous"
        note = "" if wide else ", narrow"
        print(
            f"{words:45} {contiguous:8.3f} {last:8.3f} {contiguous / last:6.2f}  (chosen: {chosen}{note})", flush=True
        )


if __name__ == "__main__":
    main()
