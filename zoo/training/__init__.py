'''The training room: what every recipe shares, so that a recipe is about its mathematics only.

A recipe is one file: settings, presets, a `train` function, and `training.main`. This is a complete
one:

    """Fit a small network to a noisy sine."""

    from dataclasses import dataclass

    import torch
    from torch import nn

    from zoo import training


    @dataclass(frozen=True)
    class Config(training.Settings):
        steps: int = training.option(2000, "steps of the optimiser")
        batch_size: int = training.option(64, "examples per step, over all processes")
        learning_rate: float = training.option(0.01, "step size of Adam at the beginning")
        clip: float | None = training.option(1.0, "largest norm of the gradient, or none")


    PRESETS = {"smoke": {"steps": 60}}


    def train(config: Config, run: training.Run) -> None:
        x = torch.linspace(-3, 3, 1024, device=run.device).unsqueeze(1)
        model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)).to(run.device)
        ema = training.EMA(model, decay=0.99)
        optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
        state: dict[str, training.Stateful] = {
            "model": model,
            "ema": ema,
            "optimizer": optimizer,
            "schedule": schedule,
        }
        for step in run.steps(config.steps, state):
            index = training.batch_indices(len(x), config.batch_size, config.seed, step)
            noise = torch.randn(config.batch_size, 1, generator=run.generator("noise", step))
            batch, noise = run.shard(x[index]), run.shard(noise).to(run.device)
            loss = nn.functional.mse_loss(model(batch), batch.sin() + 0.1 * noise)
            optimizer.zero_grad()
            loss.backward()
            run.average_gradients(model.parameters())
            if config.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            schedule.step()
            ema.update(model)
            run.log(loss=loss)
        run.record(metrics={"error": (ema.module(x) - x.sin()).square().mean().item()})
        training.save_weights(run, ema.module)


    if __name__ == "__main__":
        training.main(train, Config, presets=PRESETS, name="sine", doc=__doc__)

A recipe whose model has a card ends with

    final = training.rounded(model, "float16")
    metrics = [Metric("fashion-mnist", "test", "accuracy", accuracy(final), 10_000, command)]
    training.export(
        run, final, card="cnnf-robust", tag="adversarial", metrics=metrics, dtype="float16"
    )

What it gets for that:

- a command line with every setting, `--help`, `--preset`, `--smoke`, `--dry-run`, `--out`, and
  `--again`, which starts a recorded run again;
- a run folder with `run.json` (settings, seed, commit, versions, machine, time, metrics, sha256 of
  the result) and `metrics.jsonl`, progress with an ETA, and a checkpoint every minute;
- `--resume` after a kill. On a CPU, with the same seed, machine and number of threads, the weights
  are the same byte for byte, killed or not. That needs two habits: everything that changes from
  step to step is in `state`, and randomness comes from `batch_indices`,
  `run.generator(name, step)` or the global generators, which are seeded at every step;
- several processes, `torchrun --nproc-per-node 2 recipe.py`, with the result of one process up to
  rounding. That needs two more: draw for the global batch and take `run.shard(...)` of it, and
  call `run.average_gradients` before anything that looks at the gradients, such as clipping.

Memory: glibc gives large blocks back to the system at every step and fetches them again. A recipe
with large tensors on a CPU may run faster with `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1
MALLOC_TOP_PAD_=268435456` in the environment; the numbers do not change.
'''

from zoo.training.checkpoint import CheckpointError as CheckpointError
from zoo.training.distributed import all_reduce_mean as all_reduce_mean
from zoo.training.distributed import average_gradients as average_gradients
from zoo.training.distributed import is_main as is_main
from zoo.training.distributed import shard as shard
from zoo.training.ema import EMA as EMA
from zoo.training.export import export as export
from zoo.training.export import save_weights as save_weights
from zoo.training.files import FileError as FileError
from zoo.training.folder import RunError as RunError
from zoo.training.log import DivergedError as DivergedError
from zoo.training.main import main as main
from zoo.training.progress import Progress as Progress
from zoo.training.randomness import batch_indices as batch_indices
from zoo.training.randomness import generator as generator
from zoo.training.randomness import seed_everything as seed_everything
from zoo.training.randomness import steps_per_epoch as steps_per_epoch
from zoo.training.run import Run as Run
from zoo.training.run import Stateful as Stateful
from zoo.training.settings import Settings as Settings
from zoo.training.settings import SettingsError as SettingsError
from zoo.training.settings import option as option
from zoo.training.tensors import ExportError as ExportError
from zoo.training.tensors import rounded as rounded
