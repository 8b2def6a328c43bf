"""Train a compact network to predict the middle layers of a larger pretrained one.

``python -m backbones.distill --teacher-weights FILE --images DIR --out FILE``

The student's layer2 and layer3 maps pass through 1x1 heads, thrown away afterwards, and are
matched to the teacher's maps, normalised per channel, by mean squared error (the recipe of
EfficientAD's teacher, Batzner et al. 2024, algorithm 1, with more augmentation). The state is
saved as it goes: the same command continues an interrupted run and ends with the same weights.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import v2

from backbones.base import find_spec
from backbones.patchcore import build_trunk, load_weights
from backbones.preprocess import MEAN, STD
from backbones.runtime import export
from backbones.weights import load_state

WARMUP_STEPS = 200
SAVE_EVERY = 100
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What fixes a training run. ``crop`` is in pixels, ``batch`` in images."""

    teacher: str
    student: str
    steps: int
    batch: int
    crop: int
    learning_rate: float
    weight_decay: float
    seed: int


def augmentation(crop: int) -> v2.Transform:
    """Crops, flips, quarter turns, grey and colour jitter; gives a normalised (3, S, S) tensor."""
    return v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(crop, scale=(0.15, 1.0), ratio=(0.75, 1.33), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomApply([v2.RandomRotation((90, 90))], p=0.5),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.3)], p=0.5),
            v2.RandomGrayscale(p=0.3),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


class Crops:
    """Random crops of a folder of images; the batch of a step depends on seed and step alone."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self.paths:
            raise SystemExit(f"no images under {folder}: expected {sorted(IMAGE_SUFFIXES)}")
        self.recipe = recipe
        self.transform = augmentation(recipe.crop)

    def batch(self, step: int) -> Tensor:
        """(B, 3, S, S) float32."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + step)
        chosen = torch.randint(len(self.paths), (self.recipe.batch,)).tolist()
        crops = [self.transform(Image.open(self.paths[i]).convert("RGB")) for i in chosen]
        return torch.stack(crops).contiguous(memory_format=torch.channels_last)


class Heads(nn.Module):
    """One 1x1 convolution per matched layer."""

    def __init__(self, from_channels: list[int], to_channels: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(from_channels, to_channels, strict=True)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """(N, C, H, W) student maps to the teacher's channels."""
        return [layer(m) for layer, m in zip(self.layers, maps, strict=True)]


@torch.no_grad()
def channel_statistics(teacher: nn.Module, crops: Crops, batches: int) -> list[list[Tensor]]:
    """Mean and deviation per teacher channel, each (1, C, 1, 1), over a few batches."""
    sums: list[list[Tensor]] = []
    for step in range(batches):
        # negative steps: these crops are not those of the training steps
        for i, m in enumerate(teacher(crops.batch(-1 - step))):
            first, second = m.mean((0, 2, 3)), m.square().mean((0, 2, 3))
            if step == 0:
                sums.append([first, second])
            else:
                sums[i][0] += first
                sums[i][1] += second
    statistics = []
    for first, second in sums:
        mean = first / batches
        deviation = (second / batches - mean.square()).clamp_min(1e-12).sqrt()
        statistics.append([mean[None, :, None, None], deviation[None, :, None, None]])
    return statistics


def learning_rate_at(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine to zero."""
    if step < WARMUP_STEPS:
        return recipe.learning_rate * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, recipe.steps - WARMUP_STEPS)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def train(recipe: Recipe, teacher_weights: Path, images: Path, out: Path, device: str) -> None:
    """Run (or continue) the recipe; writes ``out`` (fp16 OpenVINO IR) and the files beside it."""
    state_file = out.with_suffix(".state.pt")
    log_file = out.with_suffix(".log.csv")
    teacher_spec, student_spec = find_spec(recipe.teacher), find_spec(recipe.student)
    teacher = build_trunk(teacher_spec)
    load_weights(teacher, load_state(teacher_weights), teacher_spec)
    teacher = _on(device, teacher).requires_grad_(False)

    torch.manual_seed(recipe.seed)
    student = _on(device, build_trunk(student_spec))
    heads = Heads(_channels(student), _channels(teacher)).to(device)
    optimizer = torch.optim.AdamW(
        [*student.parameters(), *heads.parameters()],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
    )
    crops = Crops(images, recipe)

    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        if state["recipe"] != asdict(recipe):
            raise SystemExit(f"{state_file} belongs to another recipe: {state['recipe']}")
        student.load_state_dict(state["student"])
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        statistics, start = state["statistics"], state["step"]
    else:
        statistics, start = channel_statistics(teacher, crops, batches=10), 0
        log_file.write_text("step,loss_layer2,loss_layer3,seconds\n")

    student.train()
    began = time.monotonic()
    running = torch.zeros(len(statistics))
    for step in range(start, recipe.steps):
        pixels = crops.batch(step).to(device)
        with torch.no_grad():
            targets = [
                (m - mean) / deviation
                for m, (mean, deviation) in zip(teacher(pixels), statistics, strict=True)
            ]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, recipe)
        losses = torch.stack(
            [
                nn.functional.mse_loss(p, t)
                for p, t in zip(heads(student(pixels)), targets, strict=True)
            ]
        )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.sum())
        optimizer.step()
        running += losses.detach().cpu()
        done = step + 1
        if done % SAVE_EVERY == 0 or done == recipe.steps:
            count = (done - 1) % SAVE_EVERY + 1
            layers = ",".join(f"{v:.4f}" for v in (running / count).tolist())
            with log_file.open("a") as log:
                log.write(f"{done},{layers},{time.monotonic() - began:.0f}\n")
            running.zero_()
            partial = state_file.with_suffix(".tmp")
            torch.save(
                {
                    "recipe": asdict(recipe),
                    "step": done,
                    "student": student.state_dict(),
                    "heads": heads.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "statistics": statistics,
                },
                partial,
            )
            partial.replace(state_file)

    weights = student.cpu().state_dict().items()
    halved = {k: v.half().contiguous() for k, v in weights if v.is_floating_point()}
    student.load_state_dict(halved, strict=False)
    save_file(halved, out.with_suffix(".safetensors"))
    export(student.eval(), student_spec, out, half=True)
    out.with_suffix(".json").write_text(
        json.dumps({**asdict(recipe), "images": len(crops.paths)}, indent=2) + "\n"
    )


def _channels(trunk: nn.Module) -> list[int]:
    return cast(list[int], cast(Any, trunk).feature_info.channels())


def _on(device: str, network: nn.Module) -> nn.Module:
    return network.to(device).to(memory_format=torch.channels_last)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m backbones.distill", description=__doc__)
    parser.add_argument("--teacher", default="patchcore-resnet50-v1")
    parser.add_argument("--teacher-weights", type=Path, required=True)
    parser.add_argument("--student", default="compact")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the .xml to write; .bin, .safetensors, .json, .log.csv, .state.pt go beside it",
    )
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--crop", type=int, default=160)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    recipe = Recipe(
        teacher=cast(str, args.teacher),
        student=cast(str, args.student),
        steps=args.steps,
        batch=args.batch,
        crop=args.crop,
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        seed=args.seed,
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    train(recipe, args.teacher_weights, args.images, args.out, args.device)


if __name__ == "__main__":
    main()
