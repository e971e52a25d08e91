"""Training a continuous normalising flow of vectors: flow matching, then maximum likelihood.

Flow matching is cheap and knows nothing of the solver; maximum likelihood differentiates through
the solve, and minimises the number that is reported. In this order the second refines the first.
With few steps of one fixed length it may learn to lean on their error: the likelihood of the
discrete solve rises above what any density has. `further_steps` vary the length.
Either can be left out. Each phase has its own Adam, a rise of the learning rate and half a cosine
to 0; the moving average of the weights goes through both.
"""

import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.cnf import CNF
from zoo.odes import probe
from zoo.training.flows.likelihood import path_terms
from zoo.training.flows.matching import Pairs, draw_pairs, matching_loss
from zoo.training.flows.settings import FlowSettings
from zoo.training.gan import Average
from zoo.training.restoring import warmup_and_cosine
from zoo.training.run import Run, Stateful

__all__ = ["Draw", "fit"]


class Draw(Protocol):
    """Where the data come from."""

    def __call__(self, phase: str, step: int, n: int) -> Tensor:
        """The global batch (n, D) of one step, on the CPU; the same for all processes."""
        ...


Loss = Callable[[int], dict[str, Tensor]]
"""Function of the step; gives what to log, the loss as `loss`."""


def fit(
    model: CNF,
    draw: Draw,
    config: FlowSettings,
    run: Run,
    *,
    after: Callable[[str, int, CNF], None] | None = None,
    state: dict[str, Stateful] | None = None,
) -> Average[CNF]:
    """Train `model` in place; return the moving average of its weights. Both end in eval mode.

    Args:
        model: on the run's device, standardised.
        draw: see `Draw`.
        after: called after every step with the phase, the number of steps done, and the average.
        state: what else changes from step to step, for the checkpoints.

    Raises:
        SolverError: a solve in training stalls or diverges.
        DivergedError: the loss is not finite.
    """
    model.train()
    model.velocity.scale_first_layer(config.fineness)
    average: Average[CNF] = Average(model, config.ema)
    phases = (
        (
            "matching",
            config.matching_steps,
            config.matching_rate,
            _matching(model, draw, config, run),
        ),
        (
            "likelihood",
            config.likelihood_steps,
            config.learning_rate,
            _likelihood(model, draw, config, run),
        ),
    )
    before = 0
    for phase, steps, rate, loss in phases:
        optimizer = torch.optim.Adam(
            model.velocity.parameters(), rate, weight_decay=config.weight_decay
        )
        everything: dict[str, Stateful] = {
            "model": model,
            "ema": average,
            "optimizer": optimizer,
            **(state or {}),
        }
        for step in run.steps(steps, everything, phase=phase) if steps else ():
            begun = time.monotonic()
            for group in optimizer.param_groups:
                group["lr"] = rate * warmup_and_cosine(step, min(config.warmup, steps - 1), steps)
            optimizer.zero_grad()
            terms = loss(step)
            terms["loss"].backward()  # type: ignore[no-untyped-call]
            run.average_gradients(model.velocity.parameters())
            if config.clip is not None:
                torch.nn.utils.clip_grad_norm_(model.velocity.parameters(), config.clip)
            optimizer.step()
            average.update_at(before + step, model)
            run.log(
                **{name: value.detach() for name, value in terms.items()},
                seconds_per_step=time.monotonic() - begun,
            )
            if after is not None:
                after(phase, step + 1, average.module)
        before += steps
    model.eval()
    return average


def _standard(model: CNF, batch: Tensor, run: Run) -> Tensor:
    """A batch in the units of the flow, on the run's device."""
    return (batch.to(run.device) - model.shift) / model.scale


def _matching(model: CNF, draw: Draw, config: FlowSettings, run: Run) -> Loss:
    def loss(step: int) -> dict[str, Tensor]:
        data = _standard(model, draw("matching", step, config.matching_batch), run)
        # All processes pair the whole batch: its optimal transport is that of no smaller one.
        pairs = draw_pairs(
            data,
            optimal=config.coupling == "optimal",
            sigma=config.sigma,
            generator=run.generator("matching", step),
        )
        share = [run.shard(each) for each in (pairs.points, pairs.directions, pairs.times)]
        return {"loss": matching_loss(model.velocity, Pairs(*share))}

    return loss


def _likelihood(model: CNF, draw: Draw, config: FlowSettings, run: Run) -> Loss:
    def loss(step: int) -> dict[str, Tensor]:
        solver = config.solver(run.generator("solver", step))
        data = _standard(model, draw("likelihood", step, config.batch_size), run)
        probes = None
        if config.trace == "hutchinson":
            drawn = probe(data, config.probes, generator=run.generator("probes", step))
            probes = run.shard(drawn.transpose(0, 1)).transpose(0, 1)
        found = path_terms(
            model.velocity,
            run.shard(data),
            solver,
            kinetic=config.kinetic > 0,
            jacobian=config.jacobian > 0,
            probes=probes,
        )
        nll = model.scale.log().sum() - found.log_prob.mean()
        terms = {"nll": nll}
        total = nll
        for name, weight, values in (
            ("kinetic", config.kinetic, found.kinetic),
            ("jacobian", config.jacobian, found.jacobian),
        ):
            if values is not None:
                terms[name] = values.mean()
                total = total + weight * terms[name]
        return {"loss": total, **terms, "evaluations": torch.tensor(float(found.evaluations))}

    return loss
