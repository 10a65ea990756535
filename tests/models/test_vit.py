"""Vision Transformers against torchvision's, transformers' and timm's, and their sizes."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from helpers.vit import SMALL, disturbed, images
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from torchatlas.errors import UserError
from torchatlas.models.deit import DeiT
from torchatlas.models.vit import ViT
from torchatlas.weights import load_weights
from torchatlas.weights.timm_weights import EQUAL
from torchatlas.weights.torchvision_weights import NAMINGS
from torchatlas.zoo import create_model


def their_vit(image_size: int = 32, **options: Any) -> Any:
    return disturbed(VisionTransformer(image_size, 8, 3, 2, 16, 24, num_classes=5, **options))


def assert_equal_logits(ours: nn.Module, theirs: Callable[[Tensor], Tensor]) -> None:
    x = images()
    with torch.no_grad():
        expected = theirs(x)
        assert (ours.eval()(x) - expected).norm() <= 1e-5 * expected.norm()


def assert_whole(network: nn.Module, state: dict[str, Tensor], source: str) -> list[str]:
    """Nothing missing and nothing left over; returns what was adapted."""
    report = load_weights(network, state)
    assert (report.missing, report.unexpected, report.reshaped) == ([], [], [])
    assert (report.source, report.loaded) == (source, len(network.state_dict()))
    return report.adapted


# --- other people's networks


def test_logits_and_gradients_are_torchvisions() -> None:
    theirs, ours = their_vit(), ViT(num_classes=5, **SMALL)
    assert assert_whole(ours, theirs.state_dict(), "torchvision") == []
    assert_equal_logits(ours, theirs)
    x, labels = images(), torch.tensor([0, 4, 2])
    (naming,) = [naming for naming in NAMINGS if naming.recognises(theirs.state_dict())]
    for network in (ours, theirs):
        F.cross_entropy(network.train()(x), labels).backward()
    expected = {naming.rename(key): p.grad for key, p in theirs.named_parameters()}
    assert set(expected) == {key for key, _ in ours.named_parameters()}
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[key], rtol=1e-4, atol=1e-5)


def test_files_of_torchvision_have_older_names() -> None:
    theirs, ours = their_vit(), ViT(num_classes=5, **SMALL)
    older = {"0": "linear_1", "3": "linear_2"}
    state = {re.sub(r"mlp\.([03])", lambda m: f"mlp.{older[m[1]]}", k): v for k, v in theirs.state_dict().items()}
    assert any("linear_2" in key for key in state)
    assert_whole(ours, state, "torchvision")
    assert_equal_logits(ours, theirs)


@pytest.mark.parametrize("name", ["vit_b_16", "vit_b_32", "vit_l_16", "vit_h_14"])
def test_published_sizes_have_torchvisions_tensors(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = create_model(name), getattr(torchvision.models, name)()
    (naming,) = [naming for naming in NAMINGS if naming.recognises(theirs.state_dict())]
    expected = {naming.rename(key): value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == expected


def test_weights_start_as_torchvisions() -> None:
    """Mean and spread of each tensor, but for the head's, which begins with zeros there."""
    options: dict[str, Any] = {"image_size": 32, "patch_size": 8, "dim": 96, "heads": 2, "hidden": 192, "depth": 1}
    ours, theirs = ViT(**options), VisionTransformer(32, 8, 1, 2, 96, 192, num_classes=10)
    (naming,) = [naming for naming in NAMINGS if naming.recognises(theirs.state_dict())]
    expected = {naming.rename(key): value for key, value in theirs.state_dict().items()}
    for key, value in ours.state_dict().items():
        if key == "head.weight":
            assert 0 < float(value.std()) < 0.02
            continue
        spread = float(expected[key].std())
        assert float(value.std()) == pytest.approx(spread, rel=0.1 if value.ndim > 1 else 0.4), key
        assert float(value.mean() - expected[key].mean()) == pytest.approx(0, abs=0.3 * spread + 1e-9), key


def hugging_face(kind: str) -> Any:
    transformers = pytest.importorskip("transformers")
    options = {
        "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 32,
        "patch_size": 8, "num_labels": 5,
    }  # fmt: skip
    if kind == "vit":
        return disturbed(transformers.ViTForImageClassification(transformers.ViTConfig(**options)))
    return disturbed(transformers.DeiTForImageClassificationWithTeacher(transformers.DeiTConfig(**options)))


def test_logits_are_transformers(record_property: Any) -> None:
    """With its epsilon; with ours nearly; in bf16 as far as that goes, which is recorded."""
    theirs = hugging_face("vit")
    for eps, tolerance in ((1e-12, 1e-5), (1e-6, 1e-4)):
        ours = ViT(num_classes=5, eps=eps, **SMALL).eval()
        (said,) = assert_whole(ours, theirs.state_dict(), "huggingface")
        assert "model.eps=1e-12" in said
        x = images()
        with torch.no_grad():
            expected = theirs(x).logits
            assert (ours(x) - expected).norm() <= tolerance * expected.norm()
            with torch.autocast("cpu", torch.bfloat16):
                rough = ours(x).float()
    difference = float((rough - expected).norm() / expected.norm())
    record_property("relative difference of the logits in bf16", difference)
    assert difference < 0.2


def test_files_of_transformers_have_older_names() -> None:
    theirs, ours = hugging_face("vit"), ViT(num_classes=5, eps=1e-12, **SMALL)
    older = (
        ("vit.layers.", "vit.encoder.layer."), (".attention.q_proj.", ".attention.attention.query."),
        (".attention.k_proj.", ".attention.attention.key."), (".attention.v_proj.", ".attention.attention.value."),
        (".attention.o_proj.", ".attention.output.dense."), (".mlp.fc1.", ".intermediate.dense."),
        (".mlp.fc2.", ".output.dense."),
    )  # fmt: skip
    state = {}
    for key, value in theirs.state_dict().items():
        for new, old in older:
            key = key.replace(new, old)
        state[key] = value
    assert_whole(ours, state, "huggingface")
    assert_equal_logits(ours, lambda x: theirs(x).logits)
    headless = {key.removeprefix("vit."): value for key, value in state.items() if not key.startswith("classifier.")}
    report = load_weights(ViT(num_classes=5, **SMALL), headless)
    assert report.missing == ["head.weight", "head.bias"]


def test_deit_is_transformers_and_timms() -> None:
    theirs, ours = hugging_face("deit"), DeiT(num_classes=5, **SMALL)
    assert_whole(ours, theirs.state_dict(), "huggingface")
    assert_equal_logits(ours, lambda x: theirs(x).logits)
    timm = pytest.importorskip("timm")
    options = {
        "img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "mlp_ratio": 1.5,
        "num_classes": 5,
    }  # fmt: skip
    distilled = disturbed(timm.models.deit.VisionTransformerDistilled(**options))
    assert assert_whole(ours, distilled.state_dict(), "timm") == []
    assert_equal_logits(ours, distilled)
    plain, vit = disturbed(timm.models.VisionTransformer(**options)), ViT(num_classes=5, **SMALL)
    assert assert_whole(vit, plain.state_dict(), "timm") == []
    assert_equal_logits(vit, plain)
    other = disturbed(timm.models.VisionTransformer(init_values=1e-5, **options))  # with scales of layers
    with pytest.raises(UserError, match=r"would compute something else.*other layers"):
        load_weights(vit, other.state_dict())


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_deit_has_timms_tensors(size: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        theirs, ours = timm.create_model(f"deit_{size}_distilled_patch16_224"), create_model(f"deit_{size}")
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert sorted(map(str, (p.shape for p in ours.parameters()))) == sorted(
        map(str, (p.shape for p in theirs.parameters()))
    )


def test_timms_networks_that_compute_the_same() -> None:
    for name in ("vit_base_patch16_224.augreg_in21k_ft_in1k", "vit_large_patch16_384", "deit_base_patch16_224.fb_in1k"):
        assert EQUAL.fullmatch(name)
    for name in ("vit_base_patch16_clip_224", "deit3_small_patch16_224", "vit_base_patch16_siglip_224"):
        assert not EQUAL.fullmatch(name)


# --- sizes


@pytest.mark.parametrize("size", [24, 48, 64])
def test_positions_are_interpolated_as_torchvision_does(size: int) -> None:
    theirs, larger = their_vit(), their_vit(size)
    larger.load_state_dict(interpolate_embeddings(size, 8, theirs.state_dict()))
    options = SMALL | {"image_size": size, "patch_size": min(8, size // 4)}
    if options["patch_size"] < 8:  # three patches on a side are too few
        with pytest.raises(UserError, match=r"patches of 8x8 pixels, and here they are 6x6: use model\.patch_size=8"):
            load_weights(ViT(num_classes=5, **options), theirs.state_dict())
        return
    ours = ViT(num_classes=5, **options).eval()
    report = load_weights(ours, theirs.state_dict())
    assert report.adapted == [f"positions: of 16 patches in the weights, interpolated to {(size // 8) ** 2}"]
    assert (report.missing, report.reshaped, report.unexpected) == ([], [], [])
    x = images(size)
    torch.testing.assert_close(ours(x), larger(x), rtol=1e-4, atol=1e-5)


def test_special_tokens_keep_their_positions() -> None:
    small, large = disturbed(DeiT(**SMALL)), DeiT(**SMALL | {"image_size": 64})
    load_weights(large, small.state_dict())
    assert torch.equal(large.positions[:, :2], small.positions[:, :2])
    corners = (
        large.positions[0, 2:].unflatten(0, (8, 8))[::7, ::7],
        small.positions[0, 2:].unflatten(0, (4, 4))[::3, ::3],
    )
    torch.testing.assert_close(*corners)
    report = load_weights(DeiT(**SMALL), ViT(**SMALL).state_dict())  # a class token alone is another number of tokens
    assert report.reshaped == ["positions (1x17x16 in the weights, 1x18x16 here)"]
    assert set(report.missing) == {"distillation_token", "head_distillation.weight", "head_distillation.bias"}


def test_patches_of_small_images() -> None:
    for size, wanted, found in (
        (224, 16, 16),
        (64, 16, 16),
        (32, 16, 8),
        (28, 16, 7),
        (32, 4, 4),
        (32, 8, 8),
        (8, 4, 2),
    ):
        network = ViT(image_size=size, patch_size=wanted)
        assert (network.patch_size, network.grid) == (found, size // found)
        assert ("fewer than 4x4" in network.extra_repr()) == (wanted != found)
        assert network(*network.example_input(2)).shape == (2, 10)
    with pytest.raises(ValueError, match=r"64 pixels .* patches of 14: patch_size=8 can, or images of 56 or 70 pixels"):
        ViT(image_size=64, patch_size=14)
    with pytest.raises(ValueError, match="patch_size=0 must be at least 1"):
        ViT(patch_size=0)
    for advised in ({"image_size": 56, "patch_size": 14}, {"image_size": 64, "patch_size": 8}):
        ViT(**advised)


def test_patches_are_seen_row_by_row() -> None:
    """A change of one patch changes its token alone, before the layers."""
    network = ViT(**SMALL | {"depth": 0})
    x = images(batch=1)
    changed = x.clone()
    changed[:, :, 8:16, 24:32] += 1
    tokens = (network.forward_features(z) for z in (x, changed))
    different = (next(tokens) != next(tokens)).any(2)[0]
    assert different.nonzero().flatten().tolist() == [1 + 1 * 4 + 3]
