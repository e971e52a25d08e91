"""The cards of controllable StyleGANs: their factors are those of the data, their tables true."""

import re

import pytest
from torch import nn

import zoo
from zoo import registry
from zoo.data import celeba
from zoo.models.codes import Layout
from zoo.models.factors import Factor
from zoo.simulations.robot_factors import FACTORS

ROBOT, FINE, ISAAC, CELEBA = (
    f"stylegan-disentangled-{name}"
    for name in ("robot64", "fine-robot64", "isaac3d512", "celeba256")
)


def prose(name: str) -> str:
    return (registry.info(name).folder / "README.md").read_text(encoding="utf-8")


def factors(name: str) -> tuple[Factor, ...]:
    return Layout(registry.info(name).config["factors"]).factors


def table(text: str, head: str) -> list[list[str]]:
    """The rows of the Markdown table whose first column has this title."""
    (found,) = re.findall(rf"^\| {head} \|.*\n\|[ -:|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.splitlines()]


def parameters(module: nn.Module | None) -> int:
    return sum(each.numel() for each in module.parameters()) if module is not None else 0


def test_the_models_can_be_listed_by_their_task():
    assert {ROBOT, FINE, ISAAC, CELEBA} <= set(zoo.list_models(task="controllable-generation"))


def test_the_factors_of_a_card_are_those_of_its_data():
    assert factors(ROBOT) == FACTORS
    by_name = {factor.name: factor for factor in FACTORS}
    assert all(by_name[factor.name] == factor for factor in factors(FINE))
    # As in the predecessor code a code of Isaac3D has nine numbers.
    assert [(each.name, each.values, each.categorical) for each in factors(ISAAC)] == [
        (each.name, each.values, False) for each in FACTORS
    ]
    assert factors(CELEBA) == celeba.factors()


@pytest.mark.parametrize("name", [ROBOT, FINE])
def test_the_table_of_factors_is_true(name):
    rows = table(prose(name), "factor")
    shown = [(row[0], int(row[1]), row[2].removesuffix(" (no order)")) for row in rows]
    assert shown == [(each.name, each.values, each.meaning) for each in factors(name)]
    assert ["(no order)" in row[2] for row in rows] == [each.categorical for each in factors(name)]


def test_the_attributes_of_the_card_are_those_of_the_model():
    assert ", ".join(factor.name for factor in factors(CELEBA)) in prose(CELEBA)


def test_the_table_of_sizes_is_true():
    rows = table(prose(ISAAC), "images, codes")
    assert len(rows) == 6
    for what, *numbers in rows:
        side, channels, count = map(int, re.findall(r"\d+", what))
        known = [{"name": f"factor{index}", "values": 4, "meaning": ""} for index in range(count)]
        sizes = {"factors": known, "image_size": side, "image_channels": channels}
        deep, shallow = (
            zoo.create(ISAAC, device="meta", mapping_layers=layers, **sizes) for layers in (8, 3)
        )
        generator, trunk = deep.generator, deep.discriminator
        found = (
            parameters(generator.mapping),
            parameters(shallow.generator.mapping),
            parameters(generator.synthesis) - parameters(generator.synthesis.to_image),
            parameters(trunk) - sum(map(parameters, (trunk.from_image, trunk.logit, trunk.code))),
            parameters(trunk.logit),
            parameters(trunk.code),
        )
        assert found == tuple(int(number.replace(",", "")) for number in numbers), what
