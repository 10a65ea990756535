"""Vision Transformers against torchvision's, transformers' and timm's; weights, distillation and attention maps."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from conftest import tiny_overrides
from PIL import Image
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from torchatlas.commands.explain import explain
from torchatlas.errors import UserError
from torchatlas.explain import methods as ex
from torchatlas.explain.attention_maps import recorded, rollout
from torchatlas.models.deit import DeiT, LeftOut
from torchatlas.models.resnet import ResNet
from torchatlas.models.vit import ViT
from torchatlas.tasks.classification import Classification
from torchatlas.tasks.distillation import Distillation
from torchatlas.weights import load_weights
from torchatlas.weights.timm_weights import EQUAL
from torchatlas.weights.torchvision_weights import NAMINGS
from torchatlas.zoo import create_model

Train = Callable[..., Path]
SMALL: dict[str, Any] = {"image_size": 32, "patch_size": 8, "dim": 16, "depth": 3, "heads": 2, "hidden": 24}


def disturbed(network: nn.Module) -> Any:
    """Weights where a wrong map would be seen, in eval mode."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


def their_vit(image_size: int = 32, **options: Any) -> Any:
    return disturbed(VisionTransformer(image_size, 8, 3, 2, 16, 24, num_classes=5, **options))


def images(size: int = 32, batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, size, size)


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
    tokens = (network.encode(z, network.class_token) for z in (x, changed))
    different = (next(tokens) != next(tokens)).any(2)[0]
    assert different.nonzero().flatten().tolist() == [1 + 1 * 4 + 3]


# --- DeiT and its teacher


def test_deit_answers_twice_in_training_and_once_in_evaluation() -> None:
    network = DeiT(**SMALL)
    x = images()
    logits, taught = network.train()(x)
    assert not torch.equal(logits, taught)
    torch.testing.assert_close(network.eval()(x), (logits + taught) / 2)
    rates = [layer.dropout.rate for layer in DeiT(**SMALL, stochastic_depth=0.2).layers]
    assert rates == [0, 0.1, 0.2]
    kept = LeftOut(0.5).train()(torch.ones(64, 3, 2)).flatten(1)
    assert (kept == kept[:, :1]).all()
    assert set(kept.unique().tolist()) == {0, 2}


class Fixed(nn.Module):
    """Logits that are given, two of them in training."""

    auxiliary_weight = 0.3

    def __init__(self, *logits: Tensor, distilled: bool = False) -> None:
        super().__init__()
        self.logits, self.distilled = logits, distilled

    def forward(self, x: Tensor) -> Any:
        return self.logits if self.training and len(self.logits) > 1 else self.logits[0]


def distillation_loss(student: nn.Module, v: Tensor, y: Tensor, **options: Any) -> Tensor:
    task = Distillation(student, **options).train()
    assert torch.equal(task.step((torch.zeros(len(y), 1), y))["loss"], Classification(student).train().step(
        (torch.zeros(len(y), 1), y))["loss"])  # without a teacher  # fmt: skip
    task.teachers.append(Fixed(v).eval())
    return task.step((torch.zeros(len(y), 1), y))["loss"]


def test_distillation_into_two_heads_is_the_papers() -> None:
    """Touvron et al. 2020, equations 2 and 3; an auxiliary head that is no distillation head learns from labels."""
    z, d, v, y = torch.randn(4, 6), torch.randn(4, 6), 2 * torch.randn(4, 6), torch.tensor([0, 5, 2, 2])

    def entropy(logits: Tensor, labels: Tensor) -> Tensor:
        return -torch.stack([row[k] - row.exp().sum().log() for row, k in zip(logits, labels, strict=True)]).mean()

    close = torch.testing.assert_close
    decided = v.argmax(1)
    student = Fixed(z, d, distilled=True)
    close(distillation_loss(student, v, y, hard=True), entropy(z, y) / 2 + entropy(d, decided) / 2)
    close(distillation_loss(student, v, y, hard=True, weight=0.2), 0.8 * entropy(z, y) + 0.2 * entropy(d, decided))
    p, q = (v / 3).softmax(1), (d / 3).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    close(distillation_loss(student, v, y, temperature=3.0, weight=0.1), 0.9 * entropy(z, y) + 0.1 * 9 * divergence)
    one = Fixed(z)
    close(distillation_loss(one, v, y, hard=True), entropy(z, y) / 2 + entropy(z, decided) / 2)
    two = Fixed(z, d)
    close(distillation_loss(two, v, y, hard=True), entropy(z, y) / 2 + entropy(z, decided) / 2 + 0.3 * entropy(d, y))


def test_without_a_teacher_both_heads_learn_from_the_labels() -> None:
    network, x, y = DeiT(**SMALL), images(), torch.tensor([1, 2, 3])
    loss = Classification(network).train().step((x, y))["loss"]
    torch.testing.assert_close(loss, sum(F.cross_entropy(logits, y) for logits in network(x)))


# --- what it attends to


def test_written_out_attention_is_the_fast_one() -> None:
    network, x = disturbed(ViT(**SMALL)), images()
    own = {name: dict(vars(module)) for name, module in network.named_modules()}
    fast = network(x)
    with recorded(network) as maps:
        torch.testing.assert_close(network(x), fast)
    assert list(maps) == [f"layers.{i}.attention" for i in range(3)]
    for weights in maps.values():
        assert weights.shape == (3, 2, 17, 17)
        assert not weights.requires_grad
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 17))
    for name, module in network.named_modules():
        assert vars(module).keys() == own[name].keys()
        assert not module._forward_hooks
        assert not getattr(module, "written_out", False)
        assert getattr(module, "weights", None) is None
    torch.testing.assert_close(network(x), fast, rtol=0, atol=0)
    z = network.layers[0].norm1(torch.cat([network.class_token.expand(3, -1, -1), network.patches(x).flatten(2).mT], 1)
                                + network.positions)  # fmt: skip
    q, k, _ = network.layers[0].attention.qkv(z).chunk(3, -1)
    first_head = (q[..., :8] @ k[..., :8].mT / 8**0.5).softmax(-1)
    torch.testing.assert_close(maps["layers.0.attention"][:, 0], first_head.detach())


def test_recording_ends_where_the_network_fails() -> None:
    network = ViT(**SMALL)
    with pytest.raises(RuntimeError), recorded(network):
        network(images(16))
    assert not any(getattr(module, "written_out", False) for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())


def test_rollout() -> None:
    maps = [torch.randn(2, 3, 5, 5).softmax(-1) for _ in range(4)]
    found = rollout(maps)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 5))
    expected = torch.eye(5)
    for weights in maps:
        expected = (0.5 * weights[1].mean(0) + 0.5 * torch.eye(5)) @ expected
    torch.testing.assert_close(found[1], expected)
    nothing_moves = [torch.eye(5).expand(2, 3, 5, 5)] * 4
    torch.testing.assert_close(rollout(nothing_moves), torch.eye(5).expand(2, 5, 5))
    last = torch.zeros(1, 1, 3, 3)
    last[..., 2] = 1  # all look at the last: its share grows by halves
    torch.testing.assert_close(rollout([last, last])[0, 0], torch.tensor([0.25, 0, 0.75]))


def test_grad_cam_of_tokens() -> None:
    """Selvaraju et al. 2016, equations 1 and 2, with the rest of the network written out behind the tokens."""
    network, x, target = disturbed(DeiT(**SMALL)), images(), torch.tensor([3, 0, 7])
    last = network.layers[2]
    found = ex.token_grad_cam(network, last.norm1, x, target, 2)
    z = torch.cat([network.class_token.expand(3, -1, -1), network.distillation_token.expand(3, -1, -1),
                   network.patches(x).flatten(2).mT], 1) + network.positions  # fmt: skip
    for layer in network.layers[:2]:
        z, _ = layer(z)
    tokens = last.norm1(z).detach().requires_grad_()
    z = z + last.attention(tokens)[0]
    z = network.norm(z + last.feed_forward(last.norm2(z)))
    logits = (network.head(z[:, 0]) + network.head_distillation(z[:, 1])) / 2
    (slopes,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), tokens)
    expected = (slopes[:, 2:].mean(1, keepdim=True) * tokens[:, 2:]).sum(2).relu()
    assert found.shape == (3, 4, 4)
    assert (found > 0).any()
    torch.testing.assert_close(found.flatten(1), expected.detach(), rtol=1e-4, atol=1e-6)
    frozen = network.requires_grad_(False)
    torch.testing.assert_close(ex.token_grad_cam(frozen, last.norm1, x, target, 2), found)


@torch.no_grad()
def test_a_lesion_leaves_out_a_sublayer() -> None:
    network, x = disturbed(ViT(**SMALL)), images()
    parts, rest = ex.lesions(network, x)
    assert rest == []
    assert [part.name for part in parts] == [f"layers.{i}.{what}" for i in range(3) for what in ("attention", "down")]
    z = torch.cat([network.class_token.expand(3, -1, -1), network.patches(x).flatten(2).mT], 1) + network.positions
    z, _ = network.layers[0](z)
    middle = network.layers[1]
    z = z + middle.feed_forward(middle.norm2(z))
    z, _ = network.layers[2](z)
    with ex.without(parts[2]):
        torch.testing.assert_close(network(x), network.head(network.norm(z)[:, 0]))


@pytest.mark.parametrize("name", ["vit_cifar", "deit_tiny"])
def test_a_run_is_explained(name: str, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(
        f"model={name}", *tiny_overrides(name), "data=cifar10", "data.fake=true", "data.batch_size=16",
        "debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default",
    )  # fmt: skip
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)).save(picture)
    methods = "filters,features,gradcam,lesion,gradients,attention"
    folder = explain(str(run), str(picture), methods=methods)
    assert sorted(path.stem for path in folder.glob("*.png")) == [
        "attention-1", "attention-rollout", "features-1", "filters", "gradcam", "gradients", "lesion",
    ]  # fmt: skip
    explain(str(run), str(picture), layer="layers.0.norm2", methods="gradcam")
    with pytest.raises(UserError, match=r"no feature map 'layers.9.norm1': did you mean layers"):
        explain(str(run), str(picture), layer="layers.9.norm1", methods="gradcam")
    with pytest.raises(UserError, match="attention: it needs images"):
        explain(str(run), methods="attention")


def test_a_network_without_attention_says_so(train: Train, tmp_path: Path) -> None:
    run = train(
        "model=resnet18", *tiny_overrides("resnet18"), "data=cifar10", "data.fake=true", "data.batch_size=16",
        "debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default",
    )  # fmt: skip
    picture = tmp_path / "picture.png"
    Image.new("RGB", (32, 32)).save(picture)
    with pytest.raises(UserError, match="attention: the network does not attend to patches of an image"):
        explain(str(run), str(picture), methods="attention")
    with recorded(ResNet()) as maps:
        pass
    assert maps == {}
