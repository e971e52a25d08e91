"""The training of a disentangled StyleGAN: who moves, what is drawn, what a resume changes."""

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo import training
from zoo.models.controllable import Controllable
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.factors import Factor
from zoo.models.fine_style_gan import FineStyleGAN
from zoo.training.disentangled.draws import Draws, choose_labelled
from zoo.training.disentangled.fit import Average, Players, cooled, fit
from zoo.training.disentangled.losses import code_error, deceive, discriminate, mix, r1_penalty
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.settings import SettingsError

FACTORS = [Factor("wall", 4, "colour"), Factor("shape", 3, "form", True)]
SMALL: dict[str, Any] = {"latent_dim": 6, "style_dim": 6, "mapping_layers": 2, "features": 8}
TINY: dict[str, Any] = {
    "image_size": 8,
    "sizes": (8,),
    "images": (32,),
    "labels": 6,
    "batch_size": 4,
    "labelled_batch": 2,
    "learning_rate": 1e-2,
    "threads": 1,
    "device": "cpu",
}


def settings(**changes: Any) -> DisentangledSettings:
    return DisentangledSettings(**{**TINY, **changes})


def network(*, progressive: bool = False) -> DisentangledStyleGAN:
    torch.manual_seed(0)
    return DisentangledStyleGAN(FACTORS, 8, channels=[4, 4], progressive=progressive, **SMALL)


def open_run(folder: Path, config: DisentangledSettings, *, resume: bool = False) -> training.Run:
    return training.Run(folder, config, name="x", source=Path(__file__), command="x", resume=resume)


def data(model: Controllable, n: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (n, 3, 8, 8), generator=generator).byte()
    return images, model.layout.sample(n, generator)


def players(
    model: Controllable, config: DisentangledSettings, run: training.Run
) -> tuple[Players, Draws]:
    images, codes = data(model)
    labelled = choose_labelled(len(images), config.labels, config.seed)
    draws = Draws(model, images, codes, labelled, config, run)
    return Players(model, draws, config, run), draws


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in module.named_parameters()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[bool]:
    return [torch.equal(one[name], other[name]) for name in one]


def test_every_player_moves_its_own_weights_only(tmp_path: Path) -> None:
    config = settings()
    with open_run(tmp_path, config) as run:
        model = network().train()
        moves, _ = players(model, config, run)
        terms: dict[str, Tensor] = {}
        before = weights(model.generator), weights(model.discriminator)
        loss = moves._discriminator_loss(0, 1.0, terms)
        moves._descend(loss, model.discriminator, "discriminator_optimizer", 0.01)
        between = weights(model.generator), weights(model.discriminator)
        assert all(same(before[0], between[0]))
        assert not any(same(before[1], between[1]))
        loss = moves._generator_loss(0, 1.0, terms)
        moves._descend(loss, model.generator, "generator_optimizer", 0.01)
        after = weights(model.generator), weights(model.discriminator)
        assert not any(same(between[0], after[0]))
        assert all(same(between[1], after[1]))


def by_the_book(
    model: DisentangledStyleGAN, draws: Draws, config: DisentangledSettings, step: int
) -> None:
    """One step, term by term."""
    g, d, layout = model.generator, model.discriminator, model.layout
    real = draws.real(step, 1.0)
    z, codes, _ = draws.told(step, "told-discriminator")
    fake = g(z, codes).detach()
    known, names = draws.labelled(step, 1.0)
    pool = torch.cat([known, fake[:2]]), torch.cat([names, codes[:2]])
    mixed, between = mix(*pool, *draws.pairs(step, 4, 2))
    loss = discriminate(d(real)[0], d(fake)[0])
    for weight, images, target in (
        (config.code_weight_encoder, fake, codes),
        (config.labelled_weight, known, names),
        (config.smoothness_weight, mixed, between),
    ):
        loss = loss + weight * code_error(d(images)[1], target, layout)
    # In [-1, 1], as the penalty is defined.
    scaled = (2 * real - 1).requires_grad_()
    loss = loss + config.r1_every * r1_penalty(scaled, d((scaled + 1) / 2)[0], config.r1_weight)
    of_d = torch.optim.Adam(d.parameters(), config.learning_rate, config.betas)
    of_d.zero_grad()
    loss.backward()
    of_d.step()
    z, codes, _ = draws.told(step, "told-generator")
    logits, raw = d(g(z, codes))
    of_g = torch.optim.Adam(g.parameters(), config.learning_rate, config.betas)
    of_g.zero_grad()
    (deceive(logits) + config.code_weight_generator * code_error(raw, codes, layout)).backward()
    of_g.step()


def test_a_step_is_its_terms(tmp_path: Path) -> None:
    config = settings(
        code_weight_encoder=0.5,
        code_weight_generator=2.0,
        labelled_weight=3.0,
        smoothness_weight=0.7,
        r1_every=3,
    )
    with open_run(tmp_path, config) as run:
        model = network().double().train()
        # A constant one would be normalised away, and leave gradients that are rounding alone.
        torch.nn.init.normal_(model.generator.synthesis.constant)
        twin = copy.deepcopy(model)
        moves, draws = players(model, config, run)
        _in_double(draws)
        moves.update(0)
        by_the_book(twin, draws, config, 0)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-6, atol=1e-9)


def _in_double(draws: Draws) -> None:
    """Adam's first step has the sign of the gradient, which rounding may turn: no rounding."""
    real, told, labelled, pairs = draws.real, draws.told, draws.labelled, draws.pairs
    draws.real = lambda *a: real(*a).double()  # type: ignore[method-assign]
    draws.told = lambda *a: (told(*a)[0].double(), told(*a)[1].double(), None)  # type: ignore[method-assign]
    draws.labelled = lambda *a: tuple(each.double() for each in labelled(*a))  # type: ignore[method-assign,return-value]
    draws.pairs = lambda *a: (pairs(*a)[0], pairs(*a)[1].double())  # type: ignore[method-assign]


@pytest.mark.parametrize("sizes", [(8,), (4, 8)])
def test_a_killed_training_goes_on_as_if_nothing_had_been(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    config = settings(sizes=sizes, images=(24,) * len(sizes), cooling=0.3, r1_every=2)
    found = []
    for name, stops in (("whole", [None]), ("parts", [3, 1, None])):
        for i, stop in enumerate(stops):
            # A new process knows nothing of the old one's weights.
            model = network(progressive=len(sizes) > 1)
            images, codes = data(model)
            labelled = choose_labelled(len(images), 6, 0)
            expected = pytest.raises(KeyboardInterrupt) if stop else contextlib.nullcontext()
            with expected, open_run(tmp_path / name, config, resume=i > 0) as run:
                _stop_after(run, stop)
                average = fit(model, images, codes, labelled, config, run)
        averaged = {f"average.{key}": value for key, value in average.state_dict().items()}
        found.append({**model.state_dict(), **averaged})
    for name, value in found[0].items():
        assert torch.equal(found[1][name], value), name


def _stop_after(run: training.Run, count: int | None) -> None:
    """Let the run be interrupted after `count` more steps, with a checkpoint of the last."""
    steps = run.steps

    def few(*arguments: Any, **options: Any) -> Any:
        for i, step in enumerate(steps(*arguments, every_steps=1, **options)):
            if i == count:
                raise KeyboardInterrupt
            yield step

    run.steps = few  # type: ignore[method-assign]


def test_without_labels_there_is_nothing_to_learn_names_from(tmp_path: Path) -> None:
    config = settings(labels=0)
    with open_run(tmp_path, config) as run:
        moves, _ = players(network().train(), config, run)
        terms = moves.update(0)
    assert "code_generated" in terms
    assert not {"code_labelled", "code_mixed"} & set(terms)


def test_a_plain_training_has_no_codes(tmp_path: Path) -> None:
    config = settings(method="plain", labels=0)
    with open_run(tmp_path, config) as run:
        torch.manual_seed(0)
        model = DisentangledStyleGAN([], 8, channels=[4, 4], **SMALL).train()
        terms = players(model, config, run)[0].update(0)
    assert not [name for name in terms if name.startswith("code")]


def test_the_fine_generator_is_given_other_images_than_the_codes_belong_to(tmp_path: Path) -> None:
    config = settings(image_size=8)
    torch.manual_seed(0)
    model = FineStyleGAN(FACTORS, 8, coarse_size=4, channels=[4, 4], **SMALL).train()
    with open_run(tmp_path, config) as run:
        moves, draws = players(model, config, run)
        _, _, coarse = draws.told(0, "told-generator")
        assert coarse is not None
        assert coarse.shape == (4, 3, 4, 4)
        before = weights(model.generator)
        terms = moves.update(0)
    assert not all(same(before, weights(model.generator)))
    assert "code_generator" in terms


def test_labelled_images_are_a_part_of_more_labelled_images() -> None:
    few, many = choose_labelled(100, 5, 0), choose_labelled(100, 20, 0)
    assert torch.equal(few, many[:5])
    assert len(set(many.tolist())) == 20
    with pytest.raises(SettingsError, match="expected at most 10, as many as images; found 11"):
        choose_labelled(10, 11, 0)


def test_only_labelled_images_are_labelled(tmp_path: Path) -> None:
    config = settings()
    with open_run(tmp_path, config) as run:
        model = network()
        images, codes = data(model)
        labelled = choose_labelled(len(images), 6, 0)
        draws = Draws(model, images, codes, labelled, config, run)
        known = {tuple(row) for row in codes[labelled].tolist()}
        seen = set()
        for step in range(9):
            shown, names = draws.labelled(step, 1.0)
            for image, name in zip(shown, names, strict=True):
                (position,) = (images.float() / 255 == image).flatten(1).all(1).nonzero()
                assert position.item() in labelled
                assert torch.equal(codes[position.item()], name)
                seen.add(position.item())
        assert seen == set(labelled.tolist())
        few = Draws(model, images, codes, labelled[:1], config, run)
        assert few.labelled(0, 1.0)[0].shape == (2, 3, 8, 8)
        told = Draws(model, images, codes, labelled, settings(codes="labelled"), run)
        assert {tuple(row) for row in told.told(0, "x")[1].tolist()} <= known


def test_shares_are_from_a_beta_distribution(tmp_path: Path) -> None:
    config = settings(mixup=0.75)
    with open_run(tmp_path, config) as run:
        model = network()
        draws = Draws(model, *data(model), torch.arange(6), config, run)
        pairs, share = draws.pairs(0, 20_000, 20_000)
        assert (pairs[0] != pairs[1]).all()
        exact = torch.distributions.Beta(0.75, 0.75)
        assert share.mean().item() == pytest.approx(0.5, abs=0.01)
        assert share.var().item() == pytest.approx(exact.variance.item(), rel=0.03)
        assert torch.equal(share[:0], draws.pairs(0, 4, 0)[1])


def test_the_average_has_its_half_life() -> None:
    model = network()
    average = Average(model, half_life=40)
    start = average.module.generator.synthesis.constant.clone()  # type: ignore[operator,union-attr]
    with torch.no_grad():
        model.generator.synthesis.constant += 1
    for _ in range(10):
        average.update_at(10_000, 4, model)
    moved = average.module.generator.synthesis.constant - start  # type: ignore[operator,union-attr]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5))
    # In the beginning it forgets faster: half of it in a twentieth of what was seen.
    average.update_at(80, 4, model)
    moved = average.module.generator.synthesis.constant - start  # type: ignore[operator,union-attr]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.75))


def test_the_rate_cools_to_nothing() -> None:
    config = settings(images=(40,), cooling=0.5)
    assert [cooled(step, config) for step in (0, 5, 6, 9)] == [1, 1, 0.8, 0.2]
    assert cooled(9, settings(images=(40,))) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sizes": (4, 16), "images": (8, 8)}, "each twice the one before, the last 8"),
        ({"sizes": (4, 8)}, "expected one number for each of the 2 sizes, found 1"),
        ({"batch_size": 6}, "a multiple of 4, the images of a group; found 6"),
        ({"method": "supervised", "labels": 0}, "supervision alone needs some"),
        ({"codes": "labelled", "labels": 0}, "those of labelled images need labels"),
        ({"cooling": 2.0}, r"a share in \[0, 1\]"),
        ({"images": (2,)}, "at least one batch"),
        ({"learning_rate": 0.0}, "learning_rate: expected more than 0"),
        ({"r1_weight": -1.0}, "r1_weight: expected at least 0"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings(**changes)
