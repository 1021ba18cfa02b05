"""What is used of timm, imported without its log to W&B (.6 s at each start)."""

from detectors.importing import without

with without("wandb"):
    import timm
    from timm.layers.conv2d_same import Conv2dSame, conv2d_same
    from timm.layers.norm_act import BatchNormAct2d

__all__ = ["BatchNormAct2d", "Conv2dSame", "conv2d_same", "timm"]
