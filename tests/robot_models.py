"""Small models of robot scenes that were never trained, and scenes of noise."""

import torch

from zoo.data.robot_scenes import Scenes
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.factors import Factor
from zoo.models.fine_style_gan import FineStyleGAN

CHOSEN = (
    Factor("object_shape", 3, "cube, tetrahedron or sphere", categorical=True),
    Factor("robot_x", 8, "the arm swings"),
    Factor("wall_color", 4, "the wall changes its colour"),
)
FINE = (Factor("wall_color", 4, "the wall changes its colour"), Factor("object_color", 4, "fades"))


def control(side: int = 16) -> DisentangledStyleGAN:
    torch.manual_seed(0)
    channels = (8,) * (side.bit_length() - 2)
    return DisentangledStyleGAN(
        CHOSEN, side, latent_dim=4, style_dim=8, mapping_layers=1, channels=channels, features=8
    ).eval()


def editor(side: int = 16) -> FineStyleGAN:
    torch.manual_seed(1)
    channels = (8,) * (side.bit_length() - 2)
    return FineStyleGAN(
        FINE,
        side,
        coarse_size=4,
        latent_dim=4,
        style_dim=8,
        mapping_layers=1,
        channels=channels,
        features=8,
    ).eval()


def noise(n: int = 12, side: int = 32) -> Scenes:
    """Scenes of the nine factors whose images are noise."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(256, (n, 3, side, side), generator=generator, dtype=torch.uint8)
    sizes = (3, 8, 5, 4, 4, 4, 6, 4, 4)
    columns = [torch.randint(size, (n,), generator=generator) for size in sizes]
    return Scenes(images, torch.stack(columns, 1))
