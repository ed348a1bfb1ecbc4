"""The GAN loop: discriminator step, generator step, one generator pass for both."""

import copy
import json
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from pickle import PickleError
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from geodecloud.checkpoint import load_generator, save_generator
from geodecloud.config import Config, load_config
from geodecloud.errors import DataError, GeodecloudError
from geodecloud.models.discriminator import ResNet
from geodecloud.models.generator import UNet
from geodecloud.radiometry import eurosat_to_model
from geodecloud.training.clouds import Clouded, draw_uniforms, simulate_clouds
from geodecloud.training.dataset import Tiles, batches, join, load_eurosat, tiles_from_scenes
from geodecloud.training.losses import adversarial_loss, discriminator_loss, restoration_loss

_VALIDATION_EPOCH = 1 << 20  # its clouds are none that training ever sees


@dataclass
class Run:
    """The state of a run: all that must be saved so that a resumed run is the same run."""

    config: Config
    device: torch.device
    data: str = ""  # digest of the tiles
    step: int = 0

    def __post_init__(self) -> None:
        torch.manual_seed(self.config.training.seed)
        plan = self.config.training
        self.generator = UNet(self.config.width).to(self.device)
        self.discriminator = ResNet().to(self.device)
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = AdamW(self.generator.parameters(), plan.generator_rate)
        self.schedule = OneCycleLR(
            self.generator_optimizer, plan.generator_rate, plan.steps, pct_start=0.1
        )
        self.discriminator_optimizer = AdamW(
            self.discriminator.parameters(), plan.discriminator_rate, betas=(0.5, 0.999)
        )

    @property
    def adversarial_weight(self) -> float:
        """0 during the warm-up, then a ramp to the full weight over a tenth of the run."""
        plan = self.config.training
        past = self.step / plan.steps - plan.warm_up
        return plan.adversarial_weight * min(max(past / 0.1, 0.0), 1.0)

    def start_from(self, model: Path) -> dict[str, Any]:
        """Take over the weights of a model file; returns its metadata."""
        generator, info = load_generator(model)
        if info.width != self.config.width:
            raise GeodecloudError(f"{model}: its width is {info.width}, not {self.config.width}")
        self.generator.load_state_dict(generator.state_dict())
        self.average.load_state_dict(generator.state_dict())
        return info.metadata

    def _parts(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if hasattr(v, "load_state_dict")}

    def save(self, path: Path) -> None:
        """Write the state; the file appears whole or not at all."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"step": self.step, "config": self.config.to_dict(), "data": self.data}
        beside = path.with_suffix(".tmp")
        torch.save(state, beside)
        beside.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a saved state of the same configuration and data."""
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, struct.error, PickleError) as error:
            raise GeodecloudError(f"{path}: damaged, begin again in a new --out") from error
        if state["config"] != self.config.to_dict():
            raise GeodecloudError(f"{path}: begun with another configuration; use a new --out")
        if state["data"] != self.data:
            raise GeodecloudError(f"{path}: begun with other tiles; use a new --out")
        self.step = state["step"]
        for name, part in self._parts().items():
            part.load_state_dict(state[name])


def train_on(
    config_path: Path | None,
    data: Path,
    scenes: Path | None,
    out: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
) -> Path:
    """Read configuration and tiles, then :func:`train`.

    Args:
        config_path: TOML; None: the defaults, which are ``configs/default.toml``.
        data: EuroSAT folder or zip.
        scenes: folder of clear GeoTIFFs for more tiles.
        start: a model file to begin with, to tune it.
    """
    config = load_config(config_path) if config_path else Config()
    tiles = load_eurosat(data)
    if scenes:
        tiles = join(tiles, tiles_from_scenes(scenes))
    held_out = load_eurosat(data, held_out=True, limit=config.training.validation_tiles)
    return train(config, tiles, held_out, out, start=start, resume=resume)


def train(
    config: Config,
    tiles: Tiles,
    held_out: Tiles,
    out: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
) -> Path:
    """Train and return the path of the model file, ``out/model.safetensors``.

    Args:
        tiles: to train on.
        held_out: to validate on.
        out: folder of the run: ``last.pt``, ``metrics.jsonl``, ``model.safetensors``.
        start: a model file whose generator to begin with.
        resume: go on from ``out/last.pt`` where it is there.
    """
    out.mkdir(parents=True, exist_ok=True)
    plan = config.training
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(config, device, tiles.digest())
    about = {"config": config.to_dict(), "training_tiles": len(tiles)}
    if start:
        about["started_from"] = run.start_from(start)
    if (out / "last.pt").exists():
        if not resume:
            raise GeodecloudError(f"{out}: holds a run already; --resume goes on with it")
        run.load(out / "last.pt")
    started, begun_at = time.monotonic(), run.step
    progress = tqdm(total=plan.steps, initial=run.step, unit="step")
    for clear, uniforms in batches(tiles, plan.seed, plan.batch_size, run.step):
        if run.step >= plan.steps:
            break
        losses = train_step(run, clear.to(run.device), uniforms.to(run.device))
        run.step += 1
        progress.update()
        if run.step % plan.validate_every and run.step != plan.steps:
            continue
        seconds = (time.monotonic() - started) / (run.step - begun_at)
        line = {"step": run.step, **losses, **validate(run, held_out), "step_seconds": seconds}
        run.save(out / "last.pt")
        save_generator(run.average, out / "model.safetensors", about | {"steps": run.step})
        with (out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        progress.write(" ".join(f"{k} {v:.4g}" for k, v in line.items()))
    progress.close()
    return out / "model.safetensors"


def train_step(run: Run, clear: Tensor, uniforms: Tensor) -> dict[str, float]:
    """One update of both networks (of the generator alone during the warm-up).

    Args:
        clear: float32 (N, 3, 64, 64) in model range.
        uniforms: float32 (N, clouds.UNIFORMS).
    """
    clouded = simulate_clouds(clear, uniforms, run.config.clouds)
    run.generator.train()
    cloudy = clouded.cloudy.contiguous(memory_format=torch.channels_last)
    output = run.generator(cloudy)  # (N, 4, H, W)
    losses = {}
    weight = run.adversarial_weight
    if weight > 0:
        losses["discriminator"] = _discriminator_step(run, clouded.target, output[:, :3].detach())
    restored, opacity = restoration_loss(output, clouded.target, clouded.opacity)
    loss = restored + run.config.training.opacity_weight * opacity
    if weight > 0:
        run.discriminator.requires_grad_(False)
        adversarial = adversarial_loss(run.discriminator(output[:, :3]))
        run.discriminator.requires_grad_(True)
        loss = loss + weight * adversarial
        losses["adversarial"] = adversarial.item()
    if not torch.isfinite(loss):
        raise DataError(f"step {run.step}: the loss is {loss.item()}; lower generator_rate")
    run.generator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.generator.parameters(), 1.0)
    run.generator_optimizer.step()
    run.schedule.step()
    _follow(run.average, run.generator, run.config.training.ema_decay, run.step)
    return losses | {"restored": restored.item(), "opacity": opacity.item()}


def _discriminator_step(run: Run, target: Tensor, restored: Tensor) -> float:
    real = run.discriminator(target.contiguous(memory_format=torch.channels_last))
    loss = discriminator_loss(real, run.discriminator(restored))
    run.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    run.discriminator_optimizer.step()
    return loss.item()


@torch.no_grad()
def _follow(average: UNet, generator: UNet, decay: float, step: int) -> None:
    """Exponential moving average of the weights, quicker at the start."""
    decay = min(decay, (1 + step) / (10 + step))
    ours, theirs = average.state_dict(), generator.state_dict()
    for name, value in theirs.items():
        if value.is_floating_point():
            ours[name].lerp_(value, 1 - decay)
        else:
            ours[name].copy_(value)


@torch.inference_mode()
def validate(run: Run, held_out: Tiles) -> dict[str, float]:
    """PSNR in dB of input and restored on held-out tiles under fixed clouds, where a cloud is."""
    squares = torch.zeros(3, dtype=torch.float64)  # input, restored, pixels
    opacity_error = 0.0
    size = run.config.training.batch_size
    for first in range(0, len(held_out), size):
        pixels = held_out.pixels[first : first + size]
        items = list(range(first, first + len(pixels)))
        uniforms = draw_uniforms(run.config.training.seed, _VALIDATION_EPOCH, items)
        clear = torch.from_numpy(eurosat_to_model(pixels)).to(run.device)
        clouded = simulate_clouds(clear, uniforms.to(run.device), run.config.clouds)
        output = run.average(clouded.cloudy.contiguous(memory_format=torch.channels_last))
        squares += _squared_errors(clouded, output)
        opacity_error += (output[:, 3:] - clouded.opacity).abs().mean().item() * len(pixels)
    psnr = -10 * torch.log10(squares[:2] / squares[2])
    return {
        "psnr_input": psnr[0].item(),
        "psnr_restored": psnr[1].item(),
        "opacity_mae": opacity_error / len(held_out),
    }


def _squared_errors(clouded: Clouded, output: Tensor) -> Tensor:
    cloud = ((clouded.opacity > 0.05) & (clouded.opacity < 0.9)).expand_as(clouded.target)
    before = (clouded.cloudy - clouded.target)[cloud]
    after = (output[:, :3].clamp(0, 1) - clouded.target)[cloud]
    count = before.new_tensor(before.numel())
    return torch.stack([before.square().sum(), after.square().sum(), count]).double().cpu()
