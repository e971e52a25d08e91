"""The audit of a classifier: robust accuracy as the fraction of images right under *all* attacks.

    found = audit(zoo.load("cnnf-robust"), images, labels, epsilon=0.1, folder="audit")
    found.worst["output"].accuracy

The attacks and the scored views are in `zoo.metrics.battery`, the checks for misleading gradients
in `zoo.metrics.consistency`, lines for cards in `zoo.metrics.audit_report`. Several audits of two
models (several seeds of each) are compared by

    python -m zoo.metrics.audit compare A1.json A2.json A3.json -- B1.json B2.json B3.json

Reference:
    Croce, Hein, arXiv 2003.01690, for the worst case over an ensemble of attacks.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.metrics.audit_report import NAME, Audit, Point, Row, Score, lines, read
from zoo.metrics.battery import (
    BASELINE,
    LAST,
    OUTPUT,
    AuditSettings,
    ImageSet,
    battery,
    curve_name,
    in_bfloat16,
    views,
)
from zoo.metrics.comparison import compare
from zoo.metrics.consistency import consistency, probe
from zoo.metrics.fingerprint import hash_model, hash_tensors
from zoo.metrics.outcomes import AuditError, Outcomes, opened
from zoo.metrics.robustness import standard_error
from zoo.metrics.threat import Predict, check_images, check_positive, slices
from zoo.training.files import write_json
from zoo.training.randomness import generator
from zoo.training.record import versions

__all__ = [
    "FILE",
    "NAME",
    "Audit",
    "AuditError",
    "AuditSettings",
    "Stage",
    "audit",
    "compare",
    "lines",
    "main",
    "read",
]

FILE = "audit.json"
"""The result, in the folder of the audit."""

ROUNDING = 1e-6
"""How far an attack may leave the ball because float32 rounds."""


@dataclass(frozen=True)
class Stage:
    """How far an audit is.

    Args:
        title: The attack that was made last; empty before the first.
        done: Work done, about as many forward passes of one batch.
        total: Work of the whole audit.
        resumed: Work that was done before, by an audit that was stopped.
        accuracy: Of the output under all attacks so far, on the images that were scored; None
            before the first.
    """

    title: str
    done: int
    total: int
    resumed: int
    accuracy: float | None


def audit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    baseline: nn.Module | None = None,
    settings: AuditSettings | None = None,
    folder: str | Path | None = None,
    progress: Callable[[Stage], None] | None = None,
    name: str = "",
    dataset: str = "",
    split: str = "test",
) -> Audit:
    """Attack `model` in many ways, and count the images that each of its views withstands.

    An attack leaves alone the images that no view gets right as they are: they count as wrong.
    Square attacks the images that the output withstood until then; its row is the accuracy under
    all attacks. What the checks and the curve make for the first `settings.small` images does not
    enter the worst case, which is the same for all images.

    The result is a function of model, baseline, images and settings, also if the audit was stopped
    and went on: random draws are a function of seed, attack and batch.

    Args:
        model: In eval mode; the audit runs on its device.
        images: float32, (N, C, H, W), in [0, 1].
        labels: int64, (N,).
        epsilon: Radius of the L-infinity ball, in units of the images' [0, 1].
        baseline: Another model, in eval mode; images made against it are tried on `model`.
        settings: Steps, queries, seed and so on; default `AuditSettings()`.
        folder: Where `audit.json` is written, and what is known so far after each batch. An audit
            that was stopped goes on from there.
        progress: Called before the first batch, and after each.
        name, dataset, split: What the result says about the model and the images.

    Raises:
        AuditError: the folder belongs to another audit, is damaged, or in use.
        FileError: the folder cannot be written.
        ValueError: an argument is out of range; a model in training mode; no logits (see
            `zoo.metrics.robustness.pgd`).
    """
    settings = settings or AuditSettings()
    check_images(images, labels)
    check_positive(epsilon=epsilon)
    _check_modes(model, baseline)
    work = _Work(model, baseline, images, labels, epsilon, settings)
    facts = _facts(work, model, baseline, epsilon)
    with opened(folder, work.outcomes, facts) as save:
        work.run(save, progress or (lambda stage: None))
        found = work.result(name=name, dataset=dataset, split=split, facts=facts)
        if folder is not None:
            write_json(Path(folder) / FILE, found.as_dict())
    return found


class _Work:
    """One audit: its battery, and what is known so far."""

    def __init__(
        self,
        model: nn.Module,
        baseline: nn.Module | None,
        images: Tensor,
        labels: Tensor,
        epsilon: float,
        settings: AuditSettings,
    ) -> None:
        self.images, self.labels = images.detach(), labels
        self.epsilon, self.settings = epsilon, settings
        self.views = views(model)
        self.targets: dict[str, Predict] = dict(self.views)
        if baseline is not None:
            self.targets[BASELINE] = baseline
        self.sets = battery(self.targets, settings, epsilon)
        self.device = next((p.device for p in model.parameters()), images.device)
        self.passes = _passes(model)
        names, n = tuple(self.views), len(images)
        self.outcomes = Outcomes(
            {
                each.name: ((OUTPUT,), min(settings.small, n))
                if each.scope == "small"
                else (names, n)
                for each in self.sets
            }
        )
        # Square is the last of those that every image goes through.
        self.others = [each.name for each in self.sets if each.scope == "all"]

    def run(self, save: Callable[[], None], progress: Callable[[Stage], None]) -> None:
        """Make and score every image set that is not known yet."""
        batches = [(each, index, part) for each in self.sets for index, part in self._parts(each)]
        total = sum(self._cost(each) for each, _, _ in batches)
        left = [batch for batch in batches if not self.outcomes.known(batch[0].name, batch[2])]
        resumed = done = total - sum(self._cost(each) for each, _, _ in left)
        progress(Stage("", done, total, resumed, self._running()))
        for each, index, part in left:
            began = time.monotonic()
            self.outcomes.put(each.name, part, self._outcome(each, index, part))
            self.outcomes.seconds += time.monotonic() - began
            save()
            done += self._cost(each)
            progress(Stage(each.title, done, total, resumed, self._running()))

    def result(self, *, facts: Mapping[str, Any], **labels: str) -> Audit:
        """The record of a complete audit."""
        n, small = len(self.images), min(self.settings.small, len(self.images))
        names = [each.name for each in self.sets if each.scope != "small"]
        survived = {view: self.outcomes.survivors(view, names) for view in self.views}
        probed = probe(
            self.views[OUTPUT],
            self.images[:small],
            self.labels[:small],
            self.device,
            self.settings.batch_size,
        )
        return Audit(
            **labels,
            n=n,
            epsilon=self.epsilon,
            settings=self.settings,
            rows=tuple(self._row(each) for each in self.sets if each.scope != "small"),
            worst={view: _score(float(s.double().mean()), n) for view, s in survived.items()},
            survived={v: "".join("01"[x] for x in s.int().tolist()) for v, s in survived.items()},
            checks=consistency(self.outcomes, self.sets, self.settings, probed),
            curve=tuple(
                Point(
                    factor * self.epsilon,
                    _score(self.outcomes.accuracy(curve_name(factor), OUTPUT, small), small),
                )
                for factor in self.settings.curve
            ),
            facts=facts,
            versions=versions(),
            seconds=round(self.outcomes.seconds, 1),
        )

    def _outcome(self, each: ImageSet, index: int, part: slice) -> dict[str, Tensor]:
        """Make one batch of an image set; which views are right about its images, bool (n,)."""
        clean, own = self.images[part].to(self.device), self.labels[part].to(self.device)
        chosen = self._chosen(each, part).to(self.device)
        hard = clean
        if each.craft is not None and bool(chosen.any()):
            target = self.targets[each.target or OUTPUT]
            if self.settings.gradient_bits == 16:
                target = in_bfloat16(target)
            draws = generator(self.settings.seed, each.name, index)
            made = each.craft(target, clean[chosen], own[chosen], generator=draws)
            _check_inside(each, made, clean[chosen])
            hard = clean.clone()
            hard[chosen] = made
        with torch.no_grad():
            right = {
                view: self.views[view](hard).argmax(1) == own
                for view in self.outcomes.views[each.name]
            }
        if each.scope == "survivors":
            for view in right:
                right[view] &= self.outcomes.survivors(view, self.others)[part].to(self.device)
        return right

    def _chosen(self, each: ImageSet, part: slice) -> Tensor:
        """Which images of a batch are attacked, bool (n,)."""
        if each.craft is None:
            return torch.zeros(len(self.labels[part]), dtype=torch.bool)
        if each.scope == "survivors":
            return self.outcomes.survivors(OUTPUT, self.others)[part]
        scored = self.outcomes.views[each.name]
        return torch.stack([self.outcomes.of("clean", view)[part] for view in scored]).any(0)

    def _parts(self, each: ImageSet) -> Iterator[tuple[int, slice]]:
        n = self.outcomes.right[each.name].shape[1]
        for index, part in enumerate(slices(n, self.settings.batch_size)):
            # The last one ends with the set, which may have fewer images than there are.
            yield index, slice(part.start, min(part.stop, n))

    def _cost(self, each: ImageSet) -> int:
        """Forward passes, roughly: a gradient costs as much as two more."""
        gradient = 1 if each.craft is None or each.scope == "survivors" else 3
        return each.cost * gradient * (self.passes if each.target in (OUTPUT, LAST) else 1)

    def _running(self) -> float | None:
        """Accuracy of the output under all that is known so far."""
        known = self.outcomes.right["clean"][0] >= 0
        if not bool(known.any()):
            return None
        names = [each.name for each in self.sets if each.scope != "small"]
        return float(self.outcomes.survivors(OUTPUT, names)[known].double().mean())

    def _row(self, each: ImageSet) -> Row:
        n = len(self.images)
        scores = {v: _score(self.outcomes.accuracy(each.name, v), n) for v in self.views}
        return Row(each.name, each.title, scores)


def _score(accuracy: float, n: int) -> Score:
    return Score(accuracy, standard_error(accuracy, n))


def _passes(model: nn.Module) -> int:
    """Passes through the network, up and down, for one output."""
    return 1 + 2 * int(getattr(model, "iterations", 0))


def _check_modes(model: nn.Module, baseline: nn.Module | None) -> None:
    for what, each in (("model", model), ("baseline", baseline)):
        if each is not None and each.training:
            raise ValueError(f"the {what} is in training mode; audit it after .eval()")


def _check_inside(each: ImageSet, made: Tensor, clean: Tensor) -> None:
    """An attack that leaves the ball would make any model look bad."""
    distance = float((made - clean).abs().max())
    low, high = (float(bound) for bound in made.aminmax())
    if not (distance <= each.epsilon + ROUNDING and low >= 0 and high <= 1):
        raise RuntimeError(
            f"{each.name} is defective: it made images at distance {distance:.6g} with values from "
            f"{low:.4g} to {high:.4g}, expected at most {each.epsilon:.6g}, and from 0 to 1"
        )


def _facts(
    work: _Work, model: nn.Module, baseline: nn.Module | None, epsilon: float
) -> dict[str, Any]:
    """All that the result is a function of, as JSON values."""
    facts = {
        "model": hash_model(model),
        "baseline": None if baseline is None else hash_model(baseline),
        "images": hash_tensors({"images": work.images, "labels": work.labels}),
        "epsilon": epsilon,
        "settings": dataclasses.asdict(work.settings),
        "views": list(work.views),
        "attacks": [each.name for each in work.sets],
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def main(argv: Sequence[str] | None = None) -> int:
    """Run `python -m zoo.metrics.audit compare A.json ... -- B.json ...`; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    usage = "usage: python -m zoo.metrics.audit compare A.json [A.json ...] -- B.json [B.json ...]"
    if arguments[:1] != ["compare"] or arguments.count("--") != 1:
        print(usage, file=sys.stderr)
        return 2
    middle = arguments.index("--")
    first, second = arguments[1:middle], arguments[middle + 1 :]
    if not (first and second):
        print(usage, file=sys.stderr)
        return 2
    try:
        print(compare([read(path) for path in first], [read(path) for path in second]))
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
