"""Lines of cards about controllable models, of painters whose faults are known."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.metrics.controllable_stub import (
    FACTORS,
    SHAPED,
    Known,
    Painter,
    Reader,
    Repainter,
)
from zoo import metrics
from zoo.data import robot_scenes
from zoo.data.robot_scenes import Scenes
from zoo.errors import DataError, UnknownNameError
from zoo.metrics import controllability, editing, leaks, oracle
from zoo.metrics.disentanglement_report import matrix_picture, matrix_table
from zoo.models.factor_encoder import FactorEncoder
from zoo.models.factors import Factor
from zoo.registry import Metric

LINE = Metric("robot-scenes", "test", "mig", 0.0, 256, "none")


@dataclass
class World:
    """What the lines see in place of data and of the oracle's weights."""

    factors: tuple[Factor, ...] = FACTORS
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def load(self, root: Path | None, *, size: int, arm: str, split: str, count: int) -> Scenes:
        self.asked.append((size, arm, split, count))
        return Known(self.factors).load(count, split)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(robot_scenes, "load", found.load)
    monkeypatch.setattr(oracle, "_oracle", lambda name, device: Reader(found.factors))
    monkeypatch.setattr(oracle, "_recent", {})
    return found


def measure(name: str, model: nn.Module, n: int = 256, dataset: str = "robot-scenes") -> float:
    return metrics.measure(replace(LINE, metric=name, n=n, dataset=dataset), model)


def test_a_reader_of_all_is_perfect_and_one_that_crosses_them_is_wrong_but_disentangled(
    world: World,
) -> None:
    assert measure("mig", Reader()) == pytest.approx(1, abs=0.05)
    assert measure("code-error", Reader()) == pytest.approx(0, abs=2e-3)
    crossed = Reader(crossed=True)
    assert measure("mig", crossed) == pytest.approx(1, abs=0.05)
    # Two independent labels of four values are 5/12 apart in the mean.
    assert measure("code-error", crossed, 400) == pytest.approx(5 / 12, abs=0.04)
    assert measure("code-error-wall-color", crossed, 400) == pytest.approx(5 / 12, abs=0.04)
    assert world.asked[0] == (64, "primitive", "test", 256)


def test_a_painter_that_hears_is_perfect_and_one_that_does_not_is_at_chance(world: World) -> None:
    good, deaf = Painter(), Painter(deaf=True)
    assert measure("mig-gen", good) == pytest.approx(1, abs=0.05)
    assert measure("mig-gen-shuffled", good, 400) < 0.02
    assert measure("code-error-gen", good) == pytest.approx(0, abs=2e-3)
    assert measure("code-error-gen-camera-height", good) == pytest.approx(0, abs=2e-3)
    assert measure("retrieval-top-1", deaf, 640) < 0.1
    assert measure("mig-gen", deaf, 400) < 0.1
    # A sigmoid of a normal number has a mean distance from an independent label.
    sigmoid = torch.randn(20_000, generator=torch.Generator().manual_seed(0)).sigmoid()
    expected = (sigmoid[:, None] - torch.arange(4) / 3).abs().mean()
    assert measure("code-error-gen", deaf, 400) == pytest.approx(float(expected), abs=0.03)


def test_retrieval_finds_the_scene_with_the_same_codes_if_no_other_has_them(world: World) -> None:
    world.factors = (Factor("robot_x", 64, "left"), Factor("robot_y", 64, "right"))
    found = measure("retrieval-top-1", Painter(world.factors), 128)
    # Of 64² combinations, few of 64 scenes are twins.
    assert found >= 0.95
    with pytest.raises(UnknownNameError, match="a multiple of 64, found 100"):
        measure("retrieval-top-1", Painter(world.factors), 100)


def test_leaks_are_those_that_the_painter_has(world: World) -> None:
    clean, leaky = Painter(), Painter(leak=0.25)
    assert measure("leak-mean", clean, 50) == pytest.approx(0, abs=1e-3)
    assert measure("leak-own-min", clean, 50) == pytest.approx(1, abs=1e-3)
    assert measure("leak-order-min", clean, 50) == pytest.approx(1, abs=1e-3)
    # Moving the first code moves the second half by 0.25; the second code moves it by 0.75.
    matrix, ranks = leaks.leaks(leaky, 50)
    np.testing.assert_allclose(matrix, [[1, 0.25], [0, 0.75]], atol=3e-3)
    assert ranks["camera_height"] == pytest.approx(1, abs=1e-3)
    assert 0.9 < ranks["wall_color"] < 1
    assert measure("leak-mean", leaky, 50) == pytest.approx(0.125, abs=3e-3)
    assert measure("leak-own-min", leaky, 50) == pytest.approx(0.75, abs=3e-3)


def test_a_factor_without_order_takes_all_its_values_and_is_no_part_of_the_least_change(
    world: World,
) -> None:
    world.factors = SHAPED
    model = Painter(SHAPED)
    first, second = leaks.traversals(model, 10)
    assert first.shape == (3, 10, 2) and second.shape == (5, 10, 2)
    np.testing.assert_allclose(first[:, 0, 0], [0, 0.5, 1])
    np.testing.assert_allclose(second[:, 0, 1], np.linspace(0, 1, 5), atol=3e-3)
    assert set(leaks.leaks(model, 10)[1]) == {"wall_color"}
    assert measure("code-accuracy", model) == 1
    assert measure("code-accuracy-gen", model) == 1
    world.factors = FACTORS
    with pytest.raises(UnknownNameError, match="no factor of the model is without order"):
        measure("code-accuracy", Painter())


def test_z_spread_is_the_standard_deviation_of_what_z_does(world: World) -> None:
    noisy = Painter(noise=0.01)
    assert measure("z-spread", Painter(), 50) == 0
    spread = leaks.z_spread(noisy, 100)
    # Labels 0 and 1 are clamped on one side; those between are not.
    assert spread[0] == 0
    assert 0.005 < spread[1] < 0.0105
    assert measure("z-spread", noisy, 100) == pytest.approx(spread.mean())


def test_the_frechet_distance_is_that_of_two_gaussians(world: World) -> None:
    same = measure("frechet-oracle", Painter(), 400)
    assert same < 0.01
    assert measure("frechet-oracle-of-real", Painter(), 400) < 0.01
    assert (64, "primitive", "train", 400) in world.asked
    # Half of the spread is missing, and the mean is where it was: |s/2|² for each of two numbers.
    shrunk = Painter(shrink=0.5)
    variance = float(np.var(np.arange(4) / 3))
    assert measure("frechet-oracle", shrunk, 400) == pytest.approx(2 * variance / 4, rel=0.2)


def test_images_are_the_same_whatever_their_number() -> None:
    model = Painter(noise=0.2)
    codes = model.layout.sample(230, torch.Generator().manual_seed(0))
    many = leaks.drawn(model, codes, "test")
    assert torch.equal(many[:130], leaks.drawn(model, codes[:130], "test"))
    assert not torch.equal(many, leaks.drawn(model, codes, "other"))
    assert many.dtype == torch.uint8


def test_smaller_images_are_scenes_averaged_and_read_by_an_oracle_of_their_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def small(name: str, device: str) -> Reader:
        names.append(name)
        return Reader(world.factors)

    monkeypatch.setattr(oracle, "_oracle", small)
    model = Painter()
    model.image_shape = (3, 32, 32)
    scenes = oracle.scenes_of(LINE, 32, None)
    assert scenes.images.shape == (256, 3, 32, 32)
    assert world.asked == [(64, "primitive", "test", 256)]
    oracle.Oracle.of(model)
    assert names == ["factor-encoder-robot64.primitive-32"]
    model.image_shape = (3, 128, 128)
    with pytest.raises(UnknownNameError, match=r"64 or 32 pixels a side, the model has \(3, 128"):
        oracle.Oracle.of(model)


def test_edits_reach_what_is_asked_and_leave_the_rest(world: World) -> None:
    good, bad = Repainter(), Repainter(leak=0.3, short=0.5)
    jaco = "robot-scenes-jaco"
    assert measure("edit-error", good, dataset=jaco) == pytest.approx(0, abs=2e-3)
    assert measure("edit-leak", good, dataset=jaco) == pytest.approx(0, abs=2e-3)
    assert measure("edit-leak", bad, dataset=jaco) == pytest.approx(0.3, abs=3e-3)
    # Half of the label is missing, 1/4 in the mean.
    assert measure("edit-error", bad, 600, dataset=jaco) == pytest.approx(0.25, abs=0.03)
    assert world.asked[0] == (64, "jaco", "test", 256)
    with pytest.raises(UnknownNameError, match="a model that edits wall_color or lighting"):
        measure("edit-error", Painter(), dataset=jaco)


def test_identity_is_a_rank_among_the_other_inputs() -> None:
    inputs = torch.arange(200.0)[:, None]
    assert editing.nearer_than(inputs + 0.2, inputs) == 1
    # 1.1 off: one other input is as near or nearer, of 199; three are if it is 2.1 off.
    assert editing.nearer_than(inputs + 1.1, inputs, share=0.985) > 0.98
    assert editing.nearer_than(inputs + 2.1, inputs, share=0.99) < 0.05
    assert editing.nearer_than(inputs.flip(0), inputs) <= 0.05
    with pytest.raises(ValueError, match="at least 2 images"):
        editing.nearer_than(inputs[:1], inputs[:1])


def test_lines_that_make_no_sense_are_refused(world: World) -> None:
    with pytest.raises(UnknownNameError, match="of robot-scenes or robot-scenes-jaco, not of 'x'"):
        measure("mig", Reader(), dataset="x")
    with pytest.raises(UnknownNameError, match="a Linear reads no codes of factors"):
        measure("mig", nn.Linear(1, 1))
    with pytest.raises(UnknownNameError, match="a Reader draws no images: mig-gen"):
        measure("mig-gen", Reader())
    with pytest.raises(UnknownNameError, match="the model has the factors camera_height, wall"):
        measure("code-error-robot-x", Reader())
    world.factors = (FACTORS[0],)
    with pytest.raises(UnknownNameError, match="does not know 'wall_color' with 4 values, ordinal"):
        measure("mig-gen", Painter())
    broken = Painter()
    broken.forward = lambda z, codes: torch.full((len(z), 3, 8, 8), torch.nan)  # type: ignore
    with pytest.raises(ValueError, match="has the training diverged"):
        leaks.drawn(broken, torch.zeros(2, 2))


def test_the_lines_have_names_and_tolerances() -> None:
    assert controllability.error_names(FACTORS, "-gen") == [
        "code-error-gen-camera-height",
        "code-error-gen-wall-color",
    ]
    assert controllability.accuracy_names(FACTORS) == []
    assert controllability.accuracy_names(SHAPED) == ["code-accuracy"]
    for name in ("mig", "code-error-gen-robot-x", "leak-mean", "retrieval-top-1", "edit-leak"):
        line = replace(LINE, metric=name, value=0.5, n=2000)
        assert 0 < metrics.tolerance(line) < 0.05
    missing = Metric("robot-scenes", "test", "code-error", 0.0, 10, "none")
    with pytest.raises(DataError, match="zoo simulate robot"):
        metrics.measure(missing, Reader(), Path(__file__).parent)


def test_an_oracle_knows_more_than_it_is_asked_for() -> None:
    torch.manual_seed(0)
    network = FactorEncoder(factors=SHAPED, widths=(4, 4), features=6, image_size=64).eval()
    one = oracle.Oracle(network, (SHAPED[1],))
    images = Known(SHAPED).load(5).images
    both = oracle.Oracle(network, SHAPED).read(images)
    assert both.shape == (5, 2)
    assert torch.equal(one.read(images), both[:, 1:])
    assert one.features(images).shape == (5, 6)


# The report.


def test_the_table_of_leaks_has_a_row_for_each_code_that_is_moved() -> None:
    table = matrix_table(np.array([[0.987, 0.01], [0.2, -0.5]]), FACTORS)
    lines = table.splitlines()
    assert lines[0] == "| moved | camera height | wall color |"
    assert lines[2] == "| camera height | **0.99** | 0.01 |"
    assert lines[3] == "| wall color | 0.20 | **-0.50** |"


def test_the_picture_of_leaks_is_darker_where_more_moves() -> None:
    picture = matrix_picture(np.array([[1.0, 0.0], [0.5, 1.0]]), FACTORS)
    again = matrix_picture(np.array([[1.0, 0.0], [0.5, 1.0]]), FACTORS)
    assert picture.tobytes() == again.tobytes()
    grey = np.asarray(picture.convert("L"), dtype=float)
    height, width = grey.shape
    assert height > 100 and width > 100
    other = np.asarray(matrix_picture(np.zeros((2, 2)), FACTORS).convert("L"), dtype=float)
    assert grey.mean() < other.mean()
