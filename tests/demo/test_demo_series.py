"""The section on the latent ODE, from one that was never trained."""

import dataclasses
from pathlib import Path

import pytest
import torch

from tests.sample_card import write_card
from zoo import registry
from zoo.data import spirals
from zoo.demo import DemoError
from zoo.demo.curves import DARK, LIGHT
from zoo.demo.series import section, words
from zoo.demo.series.measure import CARD, SAMPLES, fans, measure, of_both_directions
from zoo.demo.series.picture import draw_fans
from zoo.metrics.forecast import Error, forecast_error, observed
from zoo.models.latent_ode import LatentODE


@pytest.fixture(scope="module")
def forecaster() -> LatentODE:
    torch.manual_seed(0)
    return LatentODE(hidden=4, recurrent=4).eval()


def test_two_series_of_each_direction_are_the_same_with_few_and_with_many_points():
    (few, clean), (many, same) = of_both_directions(30), of_both_directions(100)
    assert torch.equal(clean, same) and clean.shape == (4, 200, 2)
    assert (clean[:, :, 0].mean(1) < 0).tolist() == [True, False, True, False]
    assert few.values.shape == (4, 30, 2) and many.values.shape == (4, 100, 2)
    for batch in (few, many):
        steps = (batch.times / spirals.DT).round().long()
        distance = batch.values - clean.gather(1, steps.unsqueeze(2).expand(-1, -1, 2))
        assert float(distance.square().mean().sqrt()) == pytest.approx(spirals.NOISE, rel=0.2)


def test_fans_hold_the_forecast_of_the_window_and_of_the_future(forecaster):
    found = fans(forecaster, 30, seed=5)
    assert found.found.mean.shape == (4, 200, 2)
    assert found.found.samples.shape == (SAMPLES, 4, 200, 2)
    batch = found.batch
    mean = forecaster.forecast(batch.times, batch.values, batch.mask, batch.times_query).mean
    torch.testing.assert_close(found.found.mean[:, spirals.WINDOW :], mean)
    assert torch.equal(found.found.samples, fans(forecaster, 30, seed=5).found.samples)


def test_errors_are_those_of_the_metric(forecaster):
    found = measure(forecaster, 6)
    assert list(found) == [30, 50, 100]
    assert found[50] == forecast_error(forecaster, observed("test", 6, 50))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_picture_has_a_row_for_every_number_of_points_and_shows_all_of_them(forecaster, theme):
    rows = [fans(forecaster, count, 0) for count in (30, 100)]
    figure = draw_fans(rows, theme)
    figure.draw_without_rendering()
    panels = figure.axes
    assert [panel.get_ylabel() for panel in panels[::4]] == ["30 observed", "100 observed"]
    for index, panel in enumerate(panels):
        shown, column = rows[index // 4], index % 4
        lines = {line.get_label(): line for line in panel.get_lines()}
        truth, mean = lines["truth"], lines["forecast, and samples of it"]
        assert truth.get_xydata() == pytest.approx(shown.clean[column].numpy())
        assert mean.get_xydata() == pytest.approx(shown.found.mean[column].numpy())
        dots = lines["observed"].get_xydata()
        assert dots == pytest.approx(shown.batch.values[column].numpy())
        end = shown.clean[column, spirals.WINDOW - 1]
        assert lines["end of the window"].get_xydata()[0] == pytest.approx(end.numpy())
        # All lines but those four are samples.
        assert len(panel.get_lines()) == SAMPLES + 4
        (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
        assert right - left == pytest.approx(top - bottom)
        for line in (*dots, *truth.get_xydata(), *mean.get_xydata()):
            assert left < line[0] < right and bottom < line[1] < top
        box = panel.get_window_extent()
        assert box.width == pytest.approx(box.height, rel=1e-3)
        assert panel.get_xlim() == panels[column].get_xlim()


def test_without_weights_one_line_stands_for_the_forecasts(tmp_path: Path, monkeypatch):
    card = dataclasses.replace(registry.info(CARD), default=None, weights={})
    write_card(tmp_path, registry.card_to_json(card))
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path)
    found, measured = section.show(spirals=2, seed=0, forecaster=None)
    (line,) = found.notes
    assert "latent-ode-spirals has no weights yet" in line and card.recipe in line
    assert line in found.html and not found.pictures and not found.tables
    assert measured.fans == () and not measured.errors


def test_nothing_is_forecast_if_nothing_is_asked_for(forecaster):
    found, measured = section.show(spirals=0, seed=0, forecaster=forecaster)
    assert measured.fans == () and not found.pictures and not found.notes


def test_the_section_has_the_numbers(forecaster):
    found, measured = section.show(spirals=3, seed=0, forecaster=forecaster)
    assert set(found.pictures) == {"spirals.png"} and "given by the caller" in found.html
    (table,) = found.tables
    for row, (count, error) in zip(table.rows, measured.errors.items(), strict=True):
        assert row[0] == f"{count} of 100" and row[1].startswith(f"{error.rmse:.3f} ± ")
        assert f"<td>{row[1]}</td>" in found.html


@pytest.mark.parametrize("spirals", [-1, 1])
def test_a_number_of_spirals_without_a_standard_error_is_refused(spirals):
    with pytest.raises(DemoError, match=f"at least 2, found {spirals}"):
        section.check_settings(spirals)


def test_words_compare_few_and_many_points():
    errors = {30: Error(0.1642, 0.01, 100), 50: Error(0.15, 0.01, 100), 100: Error(0.13, 0.01, 100)}
    said = words.about_errors(errors)
    assert "Seen 30 of 100 points" in said and "missed by 0.164 " in said
    assert "seen 100, by 0.130" in said and "off by 0.3 itself" in said
    assert "over 100 spirals" in words.what_they_are(errors)
    assert words.errors_table(errors).rows[0] == ("30 of 100", "0.164 ± 0.010")
