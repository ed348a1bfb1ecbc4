"""Train a model, from the first step to the last, through interruptions."""

import dataclasses
import importlib
import importlib.util
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from geodecloud.errors import DataError, DataWarning, GeodecloudError, OutputError, warn
from geodecloud.evaluation.tables import json_scores
from geodecloud.model.checkpoint import save_generator
from geodecloud.model.device import fast_bf16
from geodecloud.raster.atomic import atomic_write
from geodecloud.training.config import Config
from geodecloud.training.distributed import Processes, joined_processes
from geodecloud.training.loader import Data, batches
from geodecloud.training.state import Run
from geodecloud.training.step import train_step
from geodecloud.training.validate import restore_tiles, validate

_FIGURE_TILES = 10


def train(
    config: Config, data: Data, out: Path, *, start: Path | None = None, resume: bool = False
) -> Path:
    """Train and return the path of the last model, ``out/last.safetensors``.

    The folder ``out`` gets ``last.pt`` (the state, for ``resume``), ``last.safetensors`` and
    ``best.safetensors`` (averaged weights; best by the PSNR over the held-out tiles),
    ``metrics.jsonl``, ``losses.png`` and, for each validation, ``models/step_N.safetensors`` and
    ``figures/step_N.png``.

    Args:
        out: a folder, made if it does not exist.
        start: a model file whose weights to start with.
        resume: resume from ``out/last.pt`` if it exists.

    Raises:
        DataError: too few tiles, processes that disagree, or a loss that is not finite.
        GeodecloudError: ``out`` holds a run, or one of another configuration or of other tiles.
        OutputError: a file cannot be written.
    """
    with joined_processes() as processes:
        config = _settled(config, len(data.training), processes)
        run = Run(config, processes, data.training.digest())
        about = {"config": config.to_dict(), "training_tiles": len(data.training), **data.about}
        if start:
            run.start_from(start)
        if (out / "last.pt").exists():
            if not resume:
                raise GeodecloudError(f"{out}: holds a run; give `resume`, or another `out`")
            run.load(out / "last.pt")
        if run.started_from:
            about["started_from"] = run.started_from
        processes.agree(
            {"step of last.pt": run.step, "tiles": run.data, "config": config.to_dict()}
        )
        _train(run, data, RunWriter(out, about, run.step) if processes.writes else None)
    return out / "last.safetensors"


def _settled(config: Config, tiles: int, processes: Processes) -> Config:
    """Return the configuration with steps and precision as the data and the machine decide."""
    plan = config.training
    if plan.batch_size % processes.count:
        raise DataError(
            f"[training] batch_size is {plan.batch_size}: give a multiple of the "
            f"{processes.count} processes"
        )
    epoch = max(tiles // plan.batch_size, 1)
    steps = round(plan.epochs * epoch) if plan.epochs else plan.steps
    precision = plan.precision
    if precision == "auto":
        precision = "bf16" if fast_bf16(processes.device) else "fp32"
    every = plan.validate_every or epoch
    settled = dataclasses.replace(
        plan, steps=max(steps, 1), epochs=0, precision=precision, validate_every=every
    )
    return dataclasses.replace(config, training=settled)


def _train(run: Run, data: Data, writer: "RunWriter | None") -> None:
    """Run all steps that remain; ``writer`` is None in processes that do not write."""
    plan, processes = run.config.training, run.processes
    start_time, start_step = time.monotonic(), run.step
    sums: dict[str, float] = defaultdict(float)
    progress = tqdm(total=plan.steps, initial=run.step, unit="step", disable=not processes.writes)
    process = (processes.rank, processes.count)
    for batch in batches(data.training, plan.seed, plan.batch_size, run.step, process):
        if run.step >= plan.steps:
            break
        losses = train_step(run, batch.to(processes.device))
        run.step += 1
        for name, value in losses.items():
            sums[name] += value
            sums[f"{name} steps"] += 1
        seconds = (time.monotonic() - start_time) / (run.step - start_step)
        shown = {k: f"{v:.3f}" for k, v in losses.items()}
        progress.set_postfix(
            shown | {"images/s": f"{plan.batch_size / seconds:.0f}"}, refresh=False
        )
        progress.update()
        if run.step % plan.validate_every and run.step != plan.steps:
            continue
        means = {name: sums[name] / sums[f"{name} steps"] for name in losses}
        sums.clear()
        if writer:
            rate = {"images_per_second": plan.batch_size / seconds}
            progress.write(writer.write(run, data, means | rate))
        processes.wait()
    progress.close()


class RunWriter:
    """Writer of a run's scores, models and figures.

    Args:
        step: of the saved state; lines of ``metrics.jsonl`` of later steps are removed, since
            they will be written again.
    """

    def __init__(self, out: Path, about: dict[str, Any], step: int) -> None:
        self.out, self.about = out, about
        for folder in ("figures", "models"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        kept = "".join(json.dumps(line) + "\n" for line in self._lines() if line["step"] <= step)
        if self._metrics.exists() and self._metrics.read_text(encoding="utf-8") != kept:
            with atomic_write(self._metrics) as part:
                part.write_text(kept, encoding="utf-8")
        self._plots = None
        if importlib.util.find_spec("matplotlib"):
            self._plots = importlib.import_module("geodecloud.training.plots")
        else:
            warn(DataWarning, "no figures without matplotlib: pip install 'geodecloud[train]'")

    @property
    def _metrics(self) -> Path:
        return self.out / "metrics.jsonl"

    def _lines(self) -> list[dict[str, Any]]:
        """Read the lines of ``metrics.jsonl``, but for a last line that was cut off."""
        if not self._metrics.exists():
            return []
        complete = self._metrics.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in complete if line.strip()]

    def write(self, run: Run, data: Data, means: dict[str, float]) -> str:
        """Validate, write everything, and return the scores as a line of text.

        Raises:
            OutputError: a file cannot be written, for example to a full disk.
        """
        try:
            return self._write(run, data, means)
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written ({error})") from error

    def _write(self, run: Run, data: Data, means: dict[str, float]) -> str:
        """Write the state last: every file of its step then exists."""
        epoch = run.step * run.config.training.batch_size / len(data.training)
        scores = validate(run, data.held_out)
        line = {"step": run.step, "epoch": round(epoch, 3), **means, **scores}
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(json_scores(line)) + "\n")
        about = self.about | {"steps": run.step, "scores": json_scores(scores)}
        if scores["psnr_restored"] > run.best:
            run.best = scores["psnr_restored"]
            save_generator(run.average, self.out / "best.safetensors", about)
        save_generator(run.average, self.out / "last.safetensors", about)
        save_generator(run.average, self.out / "models" / f"step_{run.step:06d}.safetensors", about)
        if self._plots:
            self._plots.plot_losses(self._lines(), self.out / "losses.png")
            count = min(_FIGURE_TILES, len(data.held_out))
            shown = np.linspace(0, len(data.held_out) - 1, count).astype(int).tolist()
            tiles = restore_tiles(run, data.held_out, shown)
            self._plots.plot_tiles(tiles, self.out / "figures" / f"step_{run.step:06d}.png")
        run.save(self.out / "last.pt")
        return " ".join(f"{k} {v:.4g}" for k, v in line.items())
