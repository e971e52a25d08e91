"""Directions of a plain StyleGAN as a representation: the baseline that is found after the fact.

    python recipes/stylegan_disentangled_robot64.py --preset cpu --method plain --out runs/plain
    python -m zoo.training.disentangled.directions runs/plain --labels 200 --seed 0

The GAN was told nothing. Its representation is made as in Khrulkov et al., "Disentangled
Representations from Non-Disentangled Models", arXiv 2102.06204: K directions v_k of the style space
are found from the weights (`zoo.models.style_directions`), and a network learns to read off a
generated image the coordinates

    p_k = (v_k · w - m_k) / s_k

of its style w, with m_k and s_k their mean and standard deviation. That network is the encoder of
the disentangled model, with K numbers at its end, and learns on new images at every step by the
mean squared error. Read off the real test images, the coordinates are the codes of which the mutual
information gap is taken; up to here nobody has looked at a label.

The error needs to know which code is which factor. Labels tell it, as many as the method that it is
compared with has: for every factor the code with the greatest correlation and the affine map of
least squares ("one code"); and, as what is in the codes at all, the affine map of all K codes ("all
codes"). Errors are mean absolute ones of labels k / (n - 1), clamped to [0, 1], on the test images.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.data import as_float, robot_scenes
from zoo.errors import DataError, ZooError
from zoo.metrics.disentanglement import mig
from zoo.models.codes import Layout
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.factors import Factor
from zoo.models.style_directions import Directions, style_directions
from zoo.models.style_discriminator import Discriminator
from zoo.training import checkpoint
from zoo.training.disentangled.draws import choose_labelled
from zoo.training.disentangled.scenes import arguments, resized
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.feedback import half_precision
from zoo.training.files import read_json, write_json
from zoo.training.folder import RECORD
from zoo.training.progress import Progress
from zoo.training.randomness import generator, seed_everything

__all__ = ["FILE", "Reader", "Score", "affine_errors", "load_plain", "main", "train_reader"]

FILE = "directions.json"
"""Where a run's folder keeps the scores."""
DRAWS = 4_096
"""Styles of which the coordinates' mean and standard deviation are taken."""
BATCH = 250


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads coordinates along directions off images.

    Args:
        network: with K numbers at its end.
        explained: 1 - (squared error / variance) on the generated images of the last tenth of its
            training, the mean over the directions: near 1 if the coordinates can be seen at all.
    """

    network: Discriminator
    explained: float

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Coordinates (N, K) of images, uint8."""
        parts = [self.network(as_float(part))[1] for part in torch.split(images, BATCH)]
        return torch.cat(parts)


@dataclass(frozen=True)
class Score:
    """What the directions of one GAN are worth.

    Args:
        seed: of the network that reads the coordinates.
        labels: how many told which code is which factor.
        directions: K.
        mig: mutual information gap of the coordinates, read off the test images, 20 bins.
        error_one: mean absolute error with one code for each factor.
        error_all: with all codes.
        explained: see `Reader`.
        n: test images.
    """

    seed: int
    labels: int
    directions: int
    mig: float
    error_one: float
    error_all: float
    explained: float
    n: int


def train_reader(
    model: DisentangledStyleGAN,
    directions: Directions,
    network: Discriminator,
    *,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    precision: str = "float32",
    seed: int = 0,
) -> Reader:
    """Train `network` in place to read coordinates off images that `model` generates.

    Args:
        model: without factors.
        network: with one number for every direction.
        steps: of Adam; the rate falls in a line to 0 over the second half.
    """
    mean, deviation = _statistics(model, directions, generator(seed, "statistics"))
    optimizer = torch.optim.Adam(network.parameters(), learning_rate, betas=(0.0, 0.99))
    last, missed = max(1, steps // 10), 0.0
    network.train()
    with Progress(steps, title="directions") as progress:
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * min(1.0, 2 * (steps - step) / steps)
            with torch.no_grad(), half_precision(mean.device, precision):
                w = _styles(model, batch_size, generator(seed, "reader", step))
                images = model.generator.synthesis(w) * 0.5 + 0.5
            target = (directions.project(w) - mean) / deviation
            with half_precision(mean.device, precision):
                # In grey levels, as real images come.
                said = network(as_float((images * 255).round().byte()))[1]
            loss = (said - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            error = float(loss.detach())
            missed += error / last if step >= steps - last else 0.0
            progress.advance({"error": error})
    return Reader(network.eval(), 1 - missed)


@torch.no_grad()
def _statistics(
    model: DisentangledStyleGAN, directions: Directions, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (K,) of the coordinates of random styles."""
    found = directions.project(_styles(model, DRAWS, random))
    return found.mean(0), found.std(0)


def _styles(model: DisentangledStyleGAN, n: int, random: torch.Generator) -> Tensor:
    z = model.latent(n, random)
    w: Tensor = model.generator.mapping(z, z.new_zeros(n, 0))
    return w


def affine_errors(
    codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor
) -> tuple[float, float]:
    """Mean absolute errors of labels that are affine in one code, and in all codes.

    The maps are those of least squares on `codes` and `labels`; what they say is clamped to [0, 1].

    Args:
        codes: (L, K).
        labels: (L, F) in [0, 1].
        test_codes: (N, K).
        test_labels: (N, F).
    """
    train, truth, test = codes.double(), labels.double(), test_codes.double()
    both = torch.cat([train, truth], 1)
    correlation = torch.corrcoef(both.T)[train.shape[1] :, : train.shape[1]]
    # A code that never changes has no correlation and is never the best.
    best = correlation.abs().nan_to_num(0.0).argmax(1)
    one = [
        _affine(train[:, [code]], truth[:, [factor]], test[:, [code]])
        for factor, code in enumerate(best.tolist())
    ]
    errors = [
        (said.clamp(0, 1) - test_labels).abs().mean()
        for said in (torch.cat(one, 1), _affine(train, truth, test))
    ]
    return float(errors[0]), float(errors[1])


def _affine(x: Tensor, y: Tensor, new: Tensor) -> Tensor:
    """What the affine map of least squares from x (L, K) to y (L, F) makes of new (N, K)."""
    ones = torch.ones_like
    # gelsd takes columns that depend on one another.
    fitted = torch.linalg.lstsq(torch.cat([x, ones(x[:, :1])], 1), y, driver="gelsd")
    said: Tensor = torch.cat([new, ones(new[:, :1])], 1) @ fitted.solution
    return said


def load_plain(folder: Path) -> tuple[DisentangledStyleGAN, DisentangledSettings]:
    """The averaged GAN of the last checkpoint of a run, in eval mode, and the run's settings.

    Raises:
        DataError: if the run is not one of a plain StyleGAN.
    """
    record = read_json(folder / RECORD)
    known = {each.name for each in fields(DisentangledSettings)}
    settings = {name: value for name, value in record["settings"].items() if name in known}
    if settings.get("method") != "plain":
        raise DataError(
            f"{folder}: expected a run with --method plain, found {settings.get('method')!r}"
        )
    config = DisentangledSettings.from_json(settings)
    model = DisentangledStyleGAN(**arguments(config, ()))
    content = checkpoint.read(folder / "checkpoint.train.safetensors")
    if content is None:
        raise DataError(f"{folder}: no checkpoint yet; let the training go on for a minute")
    model.load_state_dict(checkpoint.unpack(content, str(folder))["state"]["ema"])
    return model.eval(), config


def _measure(options: argparse.Namespace) -> list[Score]:
    """A score for each number of labels, all by one reader."""
    model, config = load_plain(options.run)
    torch.set_num_threads(config.threads or torch.get_num_threads())
    train = robot_scenes.load(options.data, split="train")
    test = robot_scenes.load(options.data, split="test")
    factors = _factors(config, train.factors)
    layout = Layout(factors)
    found = style_directions(model.generator.synthesis, options.directions)
    seed_everything(options.seed, "reader")
    sizes = {**arguments(config, _coordinates(options.directions)), "progressive": False}
    reader = train_reader(
        model,
        found,
        DisentangledStyleGAN(**sizes).discriminator,
        steps=options.steps,
        precision=config.precision,
        seed=options.seed,
    )
    codes = reader.read(resized(test.images, config.image_size))
    values = test.values(factors)
    scores = []
    for labels in options.labels:
        labelled = choose_labelled(len(train), labels, options.seed)
        known = reader.read(resized(train.images[labelled], config.image_size))
        truth = [layout.encode(each) for each in (train.values(factors)[labelled], values)]
        one, every = affine_errors(known, layout.scalars(truth[0]), codes, layout.scalars(truth[1]))
        scores.append(
            Score(
                options.seed,
                labels,
                options.directions,
                mig(codes, values),
                one,
                every,
                reader.explained,
                len(test),
            )
        )
    return scores


def _factors(config: DisentangledSettings, all_of_them: Sequence[Factor]) -> list[Factor]:
    """Those that the other methods are asked for."""
    known = {each.name: each for each in all_of_them}
    return [known[name] for name in config.factors] or list(all_of_them)


def _coordinates(count: int) -> list[Factor]:
    """Factors of a network that reads numbers which are no factors."""
    return [Factor(f"direction_{i}", 2, "a coordinate") for i in range(count)]


def _remember(folder: Path, scores: Sequence[Score]) -> None:
    """Add scores to those of the run; the same question again replaces its answer."""
    path = folder / FILE
    kept: dict[str, Any] = read_json(path) if path.exists() else {}
    for score in scores:
        key = f"labels {score.labels}, directions {score.directions}, seed {score.seed}"
        kept[key] = asdict(score)
    write_json(path, kept)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and keep the scores in the run's folder; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.disentangled.directions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a plain training")
    parser.add_argument(
        "--labels", type=int, nargs="+", default=[200], metavar="N", help="labelled images (200)"
    )
    parser.add_argument("--directions", type=int, default=10, help="K (%(default)s)")
    parser.add_argument("--steps", type=int, default=2_000, help="of the reader (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the reader and of the labels")
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: $ZOO_DATA)")
    options = parser.parse_args(argv)
    try:
        scores = _measure(options)
        _remember(options.run, scores)
    except (ZooError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for score in scores:
        print(
            f"{score.directions} directions, {score.labels} labels, seed {score.seed}, "
            f"{score.n:,} test images: MIG {score.mig:.3f}, error {score.error_one:.3f} "
            f"(one code), {score.error_all:.3f} (all codes); "
            f"{score.explained:.0%} of the coordinates explained"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
