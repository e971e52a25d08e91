"""From scenes with known factors to a trained and measured card: what the recipes share."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.data.robot_scenes import Scenes, averaged
from zoo.metrics import measured
from zoo.models import architecture
from zoo.models.controllable import Controllable
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.factors import Factor, find
from zoo.models.fine_style_gan import FineStyleGAN
from zoo.registry import Metric, cards_folder, read_card
from zoo.training.disentangled.draws import choose_labelled
from zoo.training.disentangled.fit import fit
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.export import save_weights
from zoo.training.finish import Line
from zoo.training.finish import finish as measure_and_export
from zoo.training.run import Run
from zoo.training.settings import SettingsError

__all__ = ["arguments", "chosen", "finish", "keep", "network", "resized", "train_on"]


def chosen(config: DisentangledSettings, factors: Sequence[Factor]) -> tuple[Factor, ...]:
    """The factors to control, in the order of the data; none for a plain StyleGAN.

    Raises:
        SettingsError: if the settings name one that there is not.
    """
    if config.method == "plain":
        return ()
    try:
        wanted = {find(tuple(factors), name) for name in config.factors}
    except ValueError as error:
        raise SettingsError(f"factors: {error}") from None
    return tuple(each for i, each in enumerate(factors) if i in wanted or not wanted)


def resized(images: Tensor, size: int) -> Tensor:
    """Images (N, C, S, S), uint8, averaged to `size` pixels a side.

    Raises:
        SettingsError: if S is no multiple of it.
    """
    try:
        return averaged(images, size)
    except ValueError as error:
        raise SettingsError(f"image_size: {error}") from None


def arguments(config: DisentangledSettings, factors: Sequence[Factor]) -> dict[str, Any]:
    """Arguments of the architecture that these settings ask for."""
    return {
        "factors": [factor.to_json() for factor in factors],
        "image_size": config.image_size,
        "latent_dim": config.latent_dim,
        "style_dim": config.style_dim,
        "mapping_layers": config.mapping_layers,
        "mapping_rate": config.mapping_rate,
        "channels": None if config.channels is None else list(config.channels),
        "features": config.features,
        "progressive": config.progressive,
    }


def network(config: DisentangledSettings, factors: Sequence[Factor], run: Run) -> Controllable:
    """The networks at their beginning, on the run's device: with `coarse_size`, those that edit."""
    coarse = getattr(config, "coarse_size", None)
    if coarse is None:
        model: Controllable = DisentangledStyleGAN(**arguments(config, factors))
    else:
        model = FineStyleGAN(**arguments(config, factors), coarse_size=coarse)
    return model.to(run.device)


def train_on(scenes: Scenes, config: DisentangledSettings, run: Run) -> Controllable:
    """Train on these scenes by the method of the settings; return what a card shall have."""
    factors = chosen(config, scenes.factors)
    model = network(config, factors, run)
    images = resized(scenes.images, config.image_size)
    codes = model.layout.encode(scenes.values(factors))
    labelled = choose_labelled(len(images), config.labels, config.seed)
    if config.method == "supervised":
        from zoo.training.disentangled import supervised

        supervised.fit(model, images, codes, labelled, config, run)
        return model
    return fit(model, images, codes, labelled, config, run)


def keep(
    model: Controllable, config: DisentangledSettings, run: Run, *, lines: Sequence[Line]
) -> None:
    """Measure a baseline, which has no card, and leave its weights in the run folder."""
    if not run.is_main:
        return
    found = {}
    for line in lines:
        blank = Metric(line.dataset, line.split, line.metric, 0.0, line.n, run.facts["command"])
        found[f"{line.dataset} {line.metric}"] = measured(blank, model, config.data).value
    run.record(metrics=found)
    save_weights(run, model)


def finish(
    model: Controllable,
    config: DisentangledSettings,
    run: Run,
    *,
    card: str,
    lines: Sequence[Line],
) -> None:
    """Measure the model as it will be stored, as int8, and export its card folder."""
    asked = arguments(config, model.factors)
    if isinstance(model, FineStyleGAN):
        asked["coarse_size"] = model.coarse_size
    template = read_card(cards_folder() / card)
    usual = {**_defaults(architecture(template.architecture)), **template.config}
    changes = {name: value for name, value in asked.items() if _differs(usual[name], value)}
    measure_and_export(
        run, model, card=card, tag=config.tag, lines=lines, data=config.data, config=changes
    )


def _defaults(model: type[nn.Module]) -> dict[str, Any]:
    """What the arguments of an architecture are where a card says nothing."""
    found = inspect.signature(model).parameters.values()
    return {each.name: each.default for each in found}


def _differs(usual: Any, asked: Any) -> bool:
    """Whether an argument is another one than the card's; a frozen list is a tuple there."""
    return bool(_plain(usual) != _plain(asked))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
