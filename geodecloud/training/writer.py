"""Write the losses, scores, models, figures and the state of a run."""

import importlib
import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geodecloud.errors import DataWarning, OutputError, warn
from geodecloud.evaluation.tables import json_scores
from geodecloud.model.checkpoint import save_generator
from geodecloud.raster.atomic import atomic_write
from geodecloud.raster.unfinished import sweep
from geodecloud.settings import Monitoring
from geodecloud.training.json_lines import JsonLines
from geodecloud.training.judge import Judge
from geodecloud.training.means import Means
from geodecloud.training.state import State

_README = """\
# A training run of geodecloud

At step {step} of {steps}. This page is rewritten with each validation.

| file | contents |
|---|---|
| `best.safetensors` | the model of the highest PSNR on held-out land, for `--model` |
| `last.safetensors` | the last validated model |
| `models/` | the model of each validation, {model} each; delete those that you do not need |
| `last.pt` | the state of the run, {state}: the same command with `--resume` continues from it |
| `losses.jsonl` | mean losses, learning rate and speed; steps from line to line: {every} |
| `metrics.jsonl` | with each validation: mean losses, scores on held-out land |
| `losses.png` | curves of losses and scores |
| `figures/` | with each validation: held-out windows before and after |

    geodecloud SRC DST --model best.safetensors    # restore a scene with the model
    geodecloud info best.safetensors               # print the metadata of the model
"""


class RunWriter:
    """Writer of a run's losses, scores, models, figures and state.

    Args:
        out: folder of the run. In its logs, lines of later steps than the run's are removed, since
            the run writes them again.
        about: metadata for the model files, beside configuration, steps and scores.
        judge: validator of the run.
    """

    def __init__(
        self, out: Path, about: dict[str, Any], run: State, judge: Judge, monitoring: Monitoring
    ) -> None:
        self.about = {"config": run.config.to_dict(), **about}
        if run.started_from:
            self.about["started_from"] = run.started_from
            # A tuned model restores with the strength of the model that it started from.
            if (strength := run.started_from.get("strength")) is not None:
                self.about = {"strength": strength, **self.about}
        self.out, self.run, self.judge = out, run, judge
        for folder in (out, out / "figures", out / "models"):
            with _writing(out):
                folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)  # what a killed run was writing
        self._log_every = monitoring.log_every
        self._losses = JsonLines(out / "losses.jsonl", run.step)
        # With losses since the last validation, the run's step is not validated yet.
        self._metrics = JsonLines(out / "metrics.jsonl", run.step - bool(run.losses))
        self._since_log = Means()
        self._logged, self._logged_at = run.step, time.monotonic()
        self._saved_step = run.step
        self._plots = self._board = None
        if importlib.util.find_spec("matplotlib"):
            self._plots = importlib.import_module("geodecloud.training.plots")
        else:
            warn(DataWarning, "no figures without matplotlib: pip install 'geodecloud[train]'")
        if monitoring.log_dir:
            board = importlib.import_module("geodecloud.training.board")
            self._board = board.Board(monitoring.log_dir, run.step)

    @property
    def saved(self) -> str:
        """The saved state from which a resumed run continues, in words."""
        path = self.out / "last.pt"
        if not path.exists():
            return "no state was saved yet"
        return f"saved in {path} ({_size(path)}): step {self._saved_step}"

    def add(self, losses: dict[str, float]) -> None:
        """Add the losses of a step; every ``log_every`` steps, log their means.

        Raises:
            OutputError: a file cannot be written, for example to a full disk.
        """
        self._since_log.add(losses)
        self.run.losses.add(losses)
        if self.run.step % self._log_every == 0:
            with _writing(self.out):
                self._log()

    def write(self, images_per_second: float) -> str:
        """Validate, write every file, and return the scores as a line of text.

        Raises:
            OutputError: a file cannot be written, for example to a full disk.
        """
        with _writing(self.out):
            return self._write(images_per_second)

    def save(self) -> None:
        """Log the losses so far, and write the state.

        Raises:
            OutputError: a file cannot be written, for example to a full disk.
        """
        with _writing(self.out):
            self._log()
            self.run.save(self.out / "last.pt")
        self._saved_step = self.run.step

    def close(self) -> None:
        """Close the log of TensorBoard, if there is one."""
        if self._board:
            self._board.close()

    def _log(self) -> None:
        """Log the mean losses of the steps since the last line."""
        run, now = self.run, time.monotonic()
        if run.step == self._logged:
            return
        images = run.batch_size * (run.step - self._logged)
        line = {
            "step": run.step,
            **self._since_log.take(),
            "learning_rate": run.learning_rate,
            "images_per_second": images / max(now - self._logged_at, 1e-9),
        }
        self._losses.append(line)
        if self._board:
            self._board.log_losses(line)
        self._logged, self._logged_at = run.step, now

    def _write(self, images_per_second: float) -> str:
        """Validate and write every file.

        The state is written first, so that Ctrl-C while validating loses no step. It is written
        again at last: then all other files of its step exist.
        """
        self.save()
        run = self.run
        scores = self.judge.scores()
        means = run.losses.take() | {"images_per_second": images_per_second}
        line = {"step": run.step, **means, **scores}
        self._metrics.append(line)
        about = self.about | {"steps": run.step, "scores": json_scores(scores)}
        model = self.out / "models" / f"step_{run.step:06d}.safetensors"
        if scores["psnr_restored"] > run.best:
            run.best = scores["psnr_restored"]
            save_generator(run.average, self.out / "best.safetensors", about)
        save_generator(run.average, self.out / "last.safetensors", about)
        save_generator(run.average, model, about)
        figure = self.out / "figures" / f"{model.stem}.png"
        if self._plots:
            self._plots.plot_losses(
                self._losses.read(), self._metrics.read(), self.out / "losses.png"
            )
            self._plots.plot_tiles(self.judge.examples(), figure)
        if self._board:
            self._board.log_state(scores, run.step, figure)
        self.save()
        self._write_readme(model)
        self._logged_at = time.monotonic()  # so that the logged rate is that of the steps alone
        shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        return f"step {run.step}: {shown}; {self.saved}"

    def _write_readme(self, model: Path) -> None:
        """Write the page that lists the files of the folder."""
        text = _README.format(
            step=self.run.step,
            steps=self.run.steps,
            model=_size(model),
            state=_size(self.out / "last.pt"),
            every=self._log_every,
        )
        with atomic_write(self.out / "README.md") as part:
            part.write_text(text, encoding="utf-8")


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Name the folder in an error of writing that does not name the file.

    Raises:
        OutputError: a file cannot be written.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error})") from error


def _size(path: Path) -> str:
    """Return the size of a file as text, in MB."""
    megabytes = path.stat().st_size / 1e6
    return f"{megabytes:.1f} MB" if megabytes < 10 else f"{megabytes:.0f} MB"
