"""Write what a run has made so far: scores, models, figures and its state."""

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from geodecloud.errors import DataWarning, OutputError, warn
from geodecloud.evaluation.tables import json_scores
from geodecloud.model.checkpoint import save_generator
from geodecloud.raster.atomic import atomic_write
from geodecloud.training.state import State


class Judge(Protocol):
    """Scores the averaged generator of a run on held-out land."""

    def scores(self) -> dict[str, float]:
        """Return the scores by name; the best model is that with the highest ``psnr_restored``."""
        ...

    def examples(self) -> dict[str, Tensor]:
        """Return pictures for a figure, a row each: (N, 3 or 1, H, W), 0..1."""
        ...


class RunWriter:
    """Writer of a run's scores, models, figures and state.

    Args:
        out: folder of the run. Lines of its ``metrics.jsonl`` that are of later steps than the
            run's are removed, since they will be written again.
        about: metadata of the models.
    """

    def __init__(self, out: Path, about: dict[str, Any], run: State, judge: Judge) -> None:
        self.out, self.about, self.run, self.judge = out, about, run, judge
        for folder in ("figures", "models"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        lines = [line for line in self._lines() if line["step"] <= run.step]
        kept = "".join(json.dumps(line) + "\n" for line in lines)
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

    def write(self, means: dict[str, float]) -> str:
        """Validate, write everything, and return the scores as a line of text.

        Raises:
            OutputError: a file cannot be written, for example to a full disk.
        """
        try:
            return self._write(means)
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written ({error})") from error

    def _write(self, means: dict[str, float]) -> str:
        """Write the state last: every file of its step then exists."""
        run = self.run
        scores = self.judge.scores()
        line = {"step": run.step, **means, **scores}
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(json_scores(line)) + "\n")
        about = self.about | {"steps": run.step, "scores": json_scores(scores)}
        name = f"step_{run.step:06d}"
        if scores["psnr_restored"] > run.best:
            run.best = scores["psnr_restored"]
            save_generator(run.average, self.out / "best.safetensors", about)
        save_generator(run.average, self.out / "last.safetensors", about)
        save_generator(run.average, self.out / "models" / f"{name}.safetensors", about)
        if self._plots:
            self._plots.plot_losses(self._lines(), self.out / "losses.png")
            self._plots.plot_tiles(self.judge.examples(), self.out / "figures" / f"{name}.png")
        run.save(self.out / "last.pt")
        return " ".join(f"{k} {v:.4g}" for k, v in line.items())
