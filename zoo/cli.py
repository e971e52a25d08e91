"""The command `zoo`: list, info, fetch, verify, audit, demo, simulate and publish.

Every command is a function from the parsed arguments to the exit code. What it needs is imported
when it runs, so that listing the zoo and a misspelt name never wait for torch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import zoo
from zoo import registry
from zoo.errors import UnknownNameError, ZooError
from zoo.registry import TASKS, Card, card_to_json

__all__ = ["main"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes: something went wrong; the command or a name is wrong; Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `zoo` with `argv` (default: the command line); return the exit code.

    A `ZooError` becomes a message on stderr. Anything else is a defect and keeps its traceback.
    """
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except ZooError as error:
        print(f"zoo {arguments.command}: error: {error}", file=sys.stderr)
        return USAGE if isinstance(error, UnknownNameError) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough. Python's own flush at exit would
        # fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _list(arguments: argparse.Namespace) -> int:
    names = registry.list_models(
        arguments.pattern,
        pretrained=arguments.pretrained,
        task=arguments.task,
        tag=arguments.tag,
    )
    cards = [registry.info(name) for name in names]
    if arguments.json:
        _print_json([_summary(card) for card in cards])
    else:
        from zoo._tables import show_list

        show_list(cards)
    return 0


def _summary(card: Card) -> dict[str, Any]:
    """What `zoo list --json` says about a model; `zoo info --json` gives the whole card."""
    full = card_to_json(card)
    kept = ("name", "task", "summary", "architecture", "licence", "default")
    default = full["weights"].get(card.default)
    return {
        **{field: full[field] for field in kept},
        "weights": list(card.weights),
        "parameters": default and default["parameters"],
        "bytes": default and default["bytes"],
        "headline": default["metrics"][0] if default and default["metrics"] else None,
    }


def _info(arguments: argparse.Namespace) -> int:
    from zoo.weights import resolve

    card, _ = resolve(arguments.name)
    if arguments.json:
        _print_json(card_to_json(card))
    else:
        from zoo._tables import show_card

        show_card(card)
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from zoo.weights import fetch

    print(fetch(arguments.name))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from zoo import _classifier_table
    from zoo.verify import verify

    if wrong := _classifier_table.misuse(arguments):
        arguments.refuse(wrong)
    if arguments.task is not None:
        table = _classifier_table.run(**_classifier_table.options(arguments), progress=_say)
        _print_json(table.as_dict()) if arguments.json else _classifier_table.show(table)
        return 0 if table.ok else FAILED
    report = verify(arguments.name, metrics=arguments.metrics, data=arguments.data, progress=_say)
    if arguments.json:
        _print_json(report.as_dict())
    else:
        from zoo._tables import show_report

        show_report(report)
    return 0 if report.ok else FAILED


def _say(line: str) -> None:
    print(f"{line} ...", file=sys.stderr)


def _audit(arguments: argparse.Namespace) -> int:
    from zoo import _audit as room

    found, path = room.run(
        arguments.name,
        {number: getattr(arguments, number) for number in room.DEFAULTS},
        weights=arguments.weights,
        baseline=arguments.baseline,
        epsilon=arguments.epsilon,
        dataset=arguments.dataset,
        data=arguments.data,
        out=arguments.out,
        into_card=arguments.record,
    )
    if arguments.json:
        _print_json(found.as_dict())
    else:
        from zoo._audit_tables import show_audit

        show_audit(found, path)
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from zoo.demo import run

    options = vars(arguments)
    names = ("images", "seed", "sample", "attacked", "kinds", "generated")
    run(arguments.out, **{name: options[name] for name in names if options[name] is not None})
    return 0


def _simulate(arguments: argparse.Namespace) -> int:
    if arguments.simulation == "robot":
        from zoo.simulations.robot_command import simulate
    else:
        from zoo.simulations.command import simulate

    simulate(arguments)
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from zoo.publish import publish

    pin = publish(
        arguments.name, arguments.repo, private=arguments.private, dry_run=arguments.dry_run
    )
    if arguments.dry_run:
        print(f"{arguments.name} can be published; nothing was uploaded")
    else:
        print(f"hf-hub:{pin.repo}@{pin.revision}")
    return 0


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoo",
        **_texts(
            "a zoo of structure-infused generative models",
            ["zoo list", "zoo info cnnf-robust", "zoo demo"],
        ),
    )
    parser.add_argument("--version", action="version", version=f"zoo {zoo.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    for add in (
        *(_add_list, _add_info, _add_fetch, _add_verify),
        *(_add_audit, _add_demo, _add_simulate, _add_publish),
    ):
        add(commands)
    return parser


def _add_list(commands: Commands) -> None:
    parser = _command(
        commands,
        _list,
        "list the models",
        "zoo list",
        "zoo list 'cnnf*' --pretrained",
        "zoo list --task image-classification --json",
    )
    parser.add_argument("pattern", nargs="?", default="*", help="name with * ? [...], in quotes")
    parser.add_argument("--pretrained", action="store_true", help="only models with weights")
    parser.add_argument("--task", help=f"only models for this task: {', '.join(TASKS)}")
    parser.add_argument("--tag", help="only models with weights of this tag")
    _json_option(parser)


def _add_info(commands: Commands) -> None:
    parser = _command(
        commands,
        _info,
        "show paper, licence, data, recipe, weights and metrics of a model",
        "zoo info cnnf-robust",
        "zoo info local-dir:runs/cnnf-robust/card --json",
    )
    _name_argument(parser)
    _json_option(parser)


def _add_fetch(commands: Commands) -> None:
    parser = _command(
        commands,
        _fetch,
        "make sure that the weights are on this machine, and print the path of the file",
        "zoo fetch cnnf-robust",
        "zoo fetch hf-hub:org/name@<40-hex revision>",
    )
    _name_argument(parser)


def _add_verify(commands: Commands) -> None:
    from zoo._classifier_table import add_options

    parser = _command(
        commands,
        _verify,
        "check the files, outputs and metrics of a model against its card",
        "zoo verify cnnf-robust",
        "zoo verify cnnf-robust --metrics --data ~/data",
        "zoo verify --metrics --task image-classification",
    )
    _name_argument(parser, optional=True)
    parser.add_argument("--metrics", action="store_true", help="measure the metrics again")
    add_options(parser)
    parser.set_defaults(refuse=parser.error)
    _data_option(parser)
    _json_option(parser)


def _add_audit(commands: Commands) -> None:
    from zoo._audit import DATASET, DEFAULTS

    parser = _command(
        commands,
        _audit,
        "attack an image classifier in many ways and count what it withstands",
        "zoo audit cnnf-robust --baseline cnn-robust",
        "zoo audit cnnf-robust --images 100 --steps 20 --queries 200 --small 50",
        "zoo audit cnnf-robust --weights runs/a/model.safetensors --out audits/a",
        "zoo audit cnnf-robust --baseline cnn-robust --record",
    )
    _name_argument(parser)
    texts = {
        "images": "test images, from the first on",
        "steps": "gradient steps of APGD",
        "queries": "queries of the Square attack",
        "small": "images of the expensive checks and of the curve",
        "seed": "of all random draws",
        "batch_size": "images that are attacked together",
        "gradient_bits": "32, or 16: the attacks compute in bfloat16, twice as fast on some CPUs",
    }
    for name, default in DEFAULTS.items():
        text = f"{texts[name]} (default: {default})"
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=default, metavar="N", help=text
        )
    text = "radius of the attacks, images being in [0, 1] (default: usual for the data set)"
    parser.add_argument("--epsilon", type=float, metavar="E", help=text)
    parser.add_argument("--baseline", metavar="NAME", help="also try images made against this one")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights of a run of your own")
    parser.add_argument("--dataset", default=DATASET, help=f"default: {DATASET}")
    _data_option(parser)
    text = "folder to write, and to go on from (default: zoo-audit/<name>)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)
    parser.add_argument("--record", action="store_true", help="write the result into the card")
    _json_option(parser)


def _add_demo(commands: Commands) -> None:
    parser = _command(
        commands,
        _demo,
        "show CNN-F, GANs, flows, forecasts, controls and renderings, beside baselines",
        "zoo demo",
        "zoo demo --out /tmp/demo --images 12 --seed 1",
        "zoo demo --kinds noise blur --sample 1000 --attacked 0 --generated 0",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("zoo-demo"),
        metavar="DIR",
        help="folder to write (default: zoo-demo)",
    )
    numbers = {
        "images": (8, "images on show"),
        "seed": (0, "of the images, corruptions, starts of attacks and all samples"),
        "sample": (300, "bundled test images that are scored, at most 1000"),
        "attacked": (50, "of them that are attacked, 0 for none"),
        "generated": (1000, "samples of each GAN that are scored, 0 for none"),
    }
    for name, (default, text) in numbers.items():
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{text} (default: {default})"
        )
    parser.add_argument(
        "--kinds",
        nargs="+",
        metavar="KIND",
        help="kinds of corruption (default: noise blur occlusion)",
    )


def _add_simulate(commands: Commands) -> None:
    from zoo.simulations import robot_command
    from zoo.simulations.command import EXAMPLES, TEXT, add_turbulence

    text = "make data: direct numerical simulations of turbulence, or scenes with a robot"
    parser = _command(commands, _simulate, text, *EXAMPLES[:1])
    kinds = parser.add_subparsers(title="simulations", dest="simulation", required=True)
    texts = _texts(TEXT, EXAMPLES)
    add_turbulence(kinds.add_parser("turbulence", help="decaying isotropic turbulence", **texts))
    texts = _texts(robot_command.TEXT, robot_command.EXAMPLES)
    text = "a robot in a kitchen, in nine factors"
    robot_command.add_robot(kinds.add_parser("robot", help=text, **texts))


def _add_publish(commands: Commands) -> None:
    parser = _command(
        commands,
        _publish,
        "upload the folder of a card to the Hub, and pin the commit in the card",
        "zoo publish cnnf-robust --repo org/cnnf-robust --dry-run",
        "zoo publish local-dir:runs/cnnf-robust/card --repo org/mine --private",
    )
    _name_argument(parser)
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="repository on the Hub")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--dry-run", action="store_true", help="check everything, upload nothing")


def _command(
    commands: Commands, run: Callable[[argparse.Namespace], int], text: str, *examples: str
) -> argparse.ArgumentParser:
    """Add the command that `run` is named after."""
    name = run.__name__.removeprefix("_")
    parser = commands.add_parser(name, help=text, **_texts(text, examples))
    parser.set_defaults(run=run)
    return parser


def _texts(text: str, examples: Sequence[str]) -> dict[str, Any]:
    """What every parser shares: a sentence about it, and examples at the end of its help."""
    return {
        "description": f"{text[0].upper()}{text[1:]}.",
        "epilog": "\n".join(["examples:", *(f"  {example}" for example in examples)]),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def _name_argument(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    text = "name or name.tag, hf-hub:org/name@<revision>[#tag], local-dir:/path[#tag]"
    parser.add_argument("name", nargs="?" if optional else None, help=text)


def _data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of the data sets (default: $ZOO_DATA)"
    )


def _json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for machines")


if __name__ == "__main__":
    sys.exit(main())
