"""Architectures: nn.Modules and their mathematics; no training, no files, no network.

One file per architecture. A card names its architecture by the keys of `ARCHITECTURES`; the class
is imported when a model is built, so that listing the zoo never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES: dict[str, str] = {
    "cnf": "zoo.models.cnf:CNF",
    "cnnf": "zoo.models.cnnf:CNNF",
    "cnnf-wide-resnet": "zoo.models.cnnf_wide_resnet:CNNFWideResNet",
    "dcgan": "zoo.models.dcgan:DCGAN",
    "dgm": "zoo.models.dgm:DGM",
    "disentangled-style-gan": "zoo.models.disentangled_style_gan:DisentangledStyleGAN",
    "factor-encoder": "zoo.models.factor_encoder:FactorEncoder",
    "fine-style-gan": "zoo.models.fine_style_gan:FineStyleGAN",
    "image-cnf": "zoo.models.image_cnf:ImageCNF",
    "latent-ode": "zoo.models.latent_ode:LatentODE",
    "resnet-cifar": "zoo.models.resnet_cifar:ResNetCIFAR",
    "turbulence-ode": "zoo.models.turbulence_ode:TurbulenceODE",
}
"""Name of an architecture -> where its class is, as `module:class`."""


def architecture(name: str) -> type[nn.Module]:
    """Import and return the class of architecture `name`, a key of `ARCHITECTURES`.

    Raises:
        KeyError: if there is no such architecture (cards are checked for this when they are read).
    """
    module, _, attribute = ARCHITECTURES[name].partition(":")
    cls: type[nn.Module] = getattr(importlib.import_module(module), attribute)
    return cls
