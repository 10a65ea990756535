"""The U-Net of DDPM against diffusers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.diffusion import diffusers
from torch import nn

from torchatlas.models.unet_ddpm import DDPMUNet, embed_steps
from torchatlas.weights import load_weights

SIZES: dict[str, Any] = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "groups": 4}


def diffusers_network(**options: Any) -> nn.Module:
    kinds = {"down": ("DownBlock2D", "AttnDownBlock2D"), "up": ("AttnUpBlock2D", "UpBlock2D")}
    network: nn.Module = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=kinds["down"], up_block_types=kinds["up"], attention_head_dim=None, norm_num_groups=4,
        norm_eps=1e-6, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, **options,
    )  # fmt: skip
    return network.eval()


@pytest.mark.parametrize("conditional", [False, True])
def test_network_is_that_of_diffusers(conditional: bool, tmp_path: Path) -> None:
    """Weights under their names, old and new, give the same answers."""
    theirs = diffusers_network(**({"num_class_embeds": 11} if conditional else {}))
    state = theirs.state_dict()
    ours = DDPMUNet(**SIZES, conditional=conditional).eval()
    x, t, labels = torch.randn(3, 3, 8, 8), torch.tensor([0, 500, 999]), torch.tensor([0, 9, 10])
    expected = theirs(x, t, class_labels=labels if conditional else None).sample
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    old = dict(state)
    for new_name, old_name in names.items():
        old = {key.replace(new_name, old_name): tensor for key, tensor in old.items()}
    for given in (state, old):
        for parameter in ours.parameters():
            nn.init.zeros_(parameter)
        report = load_weights(ours, given)
        assert report.source == "diffusers"
        assert not report.missing
        assert not report.unexpected
        torch.testing.assert_close(ours(x, t, *([labels] if conditional else [])), expected, rtol=1e-4, atol=1e-5)
    if conditional:  # not told the class is the last label
        torch.testing.assert_close(ours(x, t), ours(x, t, torch.full_like(t, 10)))


def test_published_network_has_the_names_of_the_published_file() -> None:
    """google/ddpm-cifar10-32: as many parameters, and every tensor of it has a place."""
    with torch.device("meta"):
        theirs = diffusers.UNet2DModel(
            sample_size=32, block_out_channels=(128, 256, 256, 256), layers_per_block=2, attention_head_dim=None,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), norm_eps=1e-6,
            downsample_padding=0, flip_sin_to_cos=False, freq_shift=1,
        )  # fmt: skip
        ours = DDPMUNet(width=128, multipliers=(1, 2, 2, 2), blocks=2, groups=32, image_size=32)
    from torchatlas.weights.diffusers_names import NAMINGS

    (naming,) = NAMINGS
    renamed = naming.arrange({naming.rename(k): v for k, v in theirs.state_dict().items()})  # type: ignore[misc]
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.state_dict().items()}
    assert sum(p.numel() for p in theirs.parameters()) == 35_746_307


def test_steps_are_embedded_as_in_diffusers() -> None:
    from diffusers.models.embeddings import get_timestep_embedding

    t = torch.tensor([0, 1, 10, 999])
    torch.testing.assert_close(
        embed_steps(t, 16), get_timestep_embedding(t, 16, flip_sin_to_cos=False, downscale_freq_shift=1)
    )


def test_an_image_that_does_not_divide_is_refused_with_the_layer() -> None:
    network = DDPMUNet(multipliers=(1, 1, 1), attention=(), image_size=12)
    assert network(*network.example_input()).shape == (2, 3, 12, 12)
    with pytest.raises(ValueError, match=r"downsample\.1 gets 7x7 pixels.*multiples of 4"):
        network(torch.randn(1, 3, 14, 14), torch.tensor([0]))
