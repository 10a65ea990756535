"""What Vision Transformers attend to, and explanations of their tokens."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Train, tiny_overrides
from helpers.vit import SMALL, disturbed, images
from PIL import Image

from torchatlas.commands.explain import explain
from torchatlas.errors import UserError
from torchatlas.explain import methods as ex
from torchatlas.explain.attention_maps import recorded, rollout
from torchatlas.explain.lesions import lesions, without
from torchatlas.models.deit import DeiT
from torchatlas.models.resnet import ResNet
from torchatlas.models.vit import ViT


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
    parts, rest = lesions(network, x)
    assert rest == []
    assert [part.name for part in parts] == [f"layers.{i}.{what}" for i in range(3) for what in ("attention", "down")]
    z = torch.cat([network.class_token.expand(3, -1, -1), network.patches(x).flatten(2).mT], 1) + network.positions
    z, _ = network.layers[0](z)
    middle = network.layers[1]
    z = z + middle.feed_forward(middle.norm2(z))
    z, _ = network.layers[2](z)
    with without(parts[2]):
        torch.testing.assert_close(network(x), network.head(network.norm(z)[:, 0]))


@pytest.mark.parametrize("name", ["vit_cifar", "deit_tiny"])
def test_a_run_is_explained(name: str, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(
        f"model={name}", *tiny_overrides(name), "data=cifar10", "data.fake=true", "data.batch_size=16",
        "debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default",
    )  # fmt: skip
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)).save(picture)
    methods = ("filters", "features", "gradcam", "lesion", "gradients", "attention")
    folder = explain(str(run), str(picture), methods=methods)
    assert sorted(path.stem for path in folder.glob("*.png")) == [
        "attention-1", "attention-rollout", "features-1", "filters", "gradcam", "gradients", "lesion",
    ]  # fmt: skip
    explain(str(run), str(picture), layer="layers.0.norm2", methods=("gradcam",))
    with pytest.raises(UserError, match=r"no feature map 'layers.9.norm1': did you mean layers"):
        explain(str(run), str(picture), layer="layers.9.norm1", methods=("gradcam",))
    with pytest.raises(UserError, match="attention: it needs images"):
        explain(str(run), methods=("attention",))


def test_a_network_without_attention_says_so(train: Train, tmp_path: Path) -> None:
    run = train(
        "model=resnet18", *tiny_overrides("resnet18"), "data=cifar10", "data.fake=true", "data.batch_size=16",
        "debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default",
    )  # fmt: skip
    picture = tmp_path / "picture.png"
    Image.new("RGB", (32, 32)).save(picture)
    with pytest.raises(UserError, match="attention: the network does not attend to patches of an image"):
        explain(str(run), str(picture), methods=("attention",))
    with recorded(ResNet()) as maps:
        pass
    assert maps == {}
