"""Numbers as people read them."""

from types import MappingProxyType

import pytest

from zoo import _format


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (7, "7"),
        (999, "999"),
        (1_000, "1.0 k"),
        (3_298_962, "3.3 M"),
        (999_999, "1000.0 k"),
        (2 * 10**9, "2.0 G"),
    ],
)
def test_parameters(n, text):
    assert _format.parameters(n) == text


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 B"), (1_234, "1.2 kB"), (6_600_000, "6.6 MB"), (10**10, "10.0 GB")]
)
def test_size(n, text):
    assert _format.size(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (425, "7 min 5 s"),
        (3_599.6, "1 h 0 min"),
        (12_059, "3 h 20 min"),
    ],
)
def test_duration(seconds, text):
    assert _format.duration(seconds) == text


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("accuracy", 0.87654, "87.65%"),
        ("accuracy-pgd40", 1.0, "100.00%"),
        ("robust-accuracy-first-pass", 0.5, "50.00%"),
        ("restoration-noise-3", 0.43, "0.43"),
        ("restoration-noise-3", 1.2345, "1.23"),
        ("mse-restored-blur-1", 0.012345, "0.0123"),
        ("log-likelihood", -1234.5678, "-1235"),
        ("frechet", 0.000012345, "1.234e-05"),
    ],
)
def test_metric_value(metric, value, text):
    assert _format.metric_value(metric, value) == text


def test_arguments_of_things_with_names_are_their_names():
    factors = ({"name": "shape", "values": 3}, {"name": "colour", "values": 2})
    config = {"side": 64, "factors": factors, "widths": (1, 2), "empty": (), "noise": False}
    shown = "side=64, factors=[shape, colour], widths=(1, 2), empty=(), noise=False"
    assert _format.arguments(config) == shown
    other = ({"values": 3}, {"name": "colour"})
    assert _format.arguments({"factors": other}) == f"factors={other!r}"


def test_arguments_show_what_is_frozen_as_plain_values():
    layers = (MappingProxyType({"channels": 3}), MappingProxyType({"channels": 4, "pool": 2}))
    found = _format.arguments({"layers": layers, "mean": (0.5,), "none": ()})
    assert found == "layers=({'channels': 3}, {'channels': 4, 'pool': 2}), mean=(0.5,), none=()"
