"""Training a network to read factors: the loss by hand, and a run that is killed and goes on."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import training
from zoo.models.factor_encoder import FactorEncoder
from zoo.models.factors import Factor
from zoo.training import distributed
from zoo.training.factor_encoder import FactorEncoderSettings, fit, objective

FACTORS = (Factor("shape", 3, "colour", categorical=True), Factor("height", 5, "brightness"))


def scenes(n: int = 60) -> tuple[Tensor, Tensor]:
    """Pictures whose colour is the first factor and whose brightness is the second."""
    stream = torch.Generator().manual_seed(0)
    indices = torch.stack([torch.randint(k, (n,), generator=stream) for k in (3, 5)], 1)
    grey = 60 + 40 * indices[:, 1]
    images = torch.zeros(n, 3, 16, 16)
    images[torch.arange(n), indices[:, 0]] = grey[:, None, None].float()
    return images.to(torch.uint8), indices


def model() -> FactorEncoder:
    torch.manual_seed(1)
    return FactorEncoder(factors=FACTORS, image_size=16, widths=(8, 8), features=16)


SETTINGS = FactorEncoderSettings(
    epochs=30, batch_size=20, learning_rate=0.01, warmup=5, threads=1, categorical_weight=0.5
)


def opened(folder: Path, settings: FactorEncoderSettings, resume: bool = False) -> training.Run:
    source = Path(__file__)
    return training.Run(
        folder, settings, name="reader", source=source, command="none", resume=resume
    )


def train(folder: Path, settings: FactorEncoderSettings, resume: bool = False) -> FactorEncoder:
    trained = model()
    with opened(folder, settings, resume) as run:
        fit(trained, *scenes(), settings, run)
    return trained


def test_the_loss_is_an_absolute_error_and_a_weighted_cross_entropy() -> None:
    layout = model().layout
    raw = torch.tensor([[2.0, 0.0, -1.0, 1.3], [0.0, 0.0, 0.0, 0.1]])
    found = objective(raw, torch.tensor([[0, 4], [2, 1]]), layout, categorical_weight=0.5)
    assert list(found) == ["shape", "height"]
    assert float(found["height"]) == pytest.approx((0.3 + 0.15) / 2)
    expected = F.cross_entropy(raw[:, :3].double(), torch.tensor([0, 2]))
    assert float(found["shape"]) == pytest.approx(0.5 * float(expected))


def test_what_is_trained_reads_its_factors(tmp_path: Path) -> None:
    trained = train(tmp_path / "run", SETTINGS)
    assert not trained.training
    images, indices = scenes()
    with torch.no_grad():
        codes = trained.encode(images.float() / 255)
    decoded = trained.layout.decode(codes)
    assert float((decoded == indices).float().mean()) > 0.9


def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FactorEncoderSettings(**{**SETTINGS.to_json(), "epochs": 4})
    whole = train(tmp_path / "whole", settings)

    class Killed(Exception):
        pass

    steps = training.Run.steps

    def short(self: training.Run, *args: object, **options: object):
        for step in steps(self, *args, **{**options, "every_steps": 1}):
            if step == 7:
                raise Killed
            yield step

    with monkeypatch.context() as patched:
        patched.setattr(training.Run, "steps", short)
        with pytest.raises(Killed):
            train(tmp_path / "killed", settings)
    again = train(tmp_path / "killed", settings, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "run", SETTINGS) as run:
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        with pytest.raises(training.SettingsError, match="expected one process, found 2"):
            fit(model(), *scenes(), SETTINGS, run)
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate"])
def test_settings_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(training.SettingsError, match=f"{name}: expected more than 0, found 0"):
        FactorEncoderSettings(**{name: 0})
