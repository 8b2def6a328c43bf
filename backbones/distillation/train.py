"""Train a small network to predict the features of a larger pretrained one.

``python -m backbones.distillation.train --teacher-weights FILE --images DIR --out FILE``

Two recipes. A CNN student (``compact``) gets the same crops as the teacher; its maps pass through
1x1 heads, which are discarded afterwards, and are matched to the teacher's maps layer by layer. A
PDN student (``efficientad-small``, ``-medium``) follows Batzner et al. 2024, algorithm 1: the
teacher's PatchCore features of the crop, averaged to 384 channels on a 64 x 64 grid, are predicted
from the crop at half its size. Targets are normalised per channel, the loss is the mean squared
error, and both recipes augment more than the paper. The training state is saved regularly: the same
command resumes an interrupted run and ends with the same weights.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import v2

from backbones.decode import IMAGE_SUFFIXES
from backbones.distillation.objectives import OBJECTIVES, Objective
from backbones.errors import BackboneError
from backbones.geometry import MEAN, STD
from backbones.networks.patchcore import Trunk
from backbones.openvino_runtime import export
from backbones.specs import find_spec
from backbones.weights import load_state, sha256_of

WARMUP_STEPS = 200
SAVE_EVERY = 100


@dataclass(frozen=True, slots=True)
class Recipe:
    """Parameters that fix a training run. ``crop`` is in pixels, ``batch`` in images."""

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
    """Random crops of a folder of images; a batch depends only on the seed and the step."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self.paths:
            raise BackboneError(f"no images under {folder}: expected {sorted(IMAGE_SUFFIXES)}")
        self.recipe = recipe
        self.transform = augmentation(recipe.crop)

    def batch(self, step: int) -> Tensor:
        """The batch of a step, (B, 3, S, S) float32."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + step)
        chosen = torch.randint(len(self.paths), (self.recipe.batch,)).tolist()
        crops = [self.transform(Image.open(self.paths[i]).convert("RGB")) for i in chosen]
        return torch.stack(crops).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def channel_statistics(
    objective: Objective, crops: Crops, device: str, batches: int
) -> list[list[Tensor]]:
    """Mean and deviation of each teacher channel, each (1, C, 1, 1), over a few batches."""
    sums: dict[int, list[Tensor]] = {}
    for step in range(batches):
        # negative steps: these crops differ from those of the training steps
        for i, m in enumerate(objective.targets(crops.batch(-1 - step).to(device))):
            moments = [m.mean((0, 2, 3)), m.square().mean((0, 2, 3))]
            sums[i] = [a + b for a, b in zip(sums[i], moments, strict=True)] if step else moments
    statistics = []
    for first, second in sums.values():
        mean = first / batches
        deviation = (second / batches - mean.square()).clamp_min(0).sqrt()
        # a channel that is almost silent in these batches would otherwise dominate all others
        deviation = deviation.clamp_min(0.01 * float(deviation.mean()) + 1e-6)
        statistics.append([mean[None, :, None, None], deviation[None, :, None, None]])
    return statistics


def learning_rate_at(step: int, recipe: Recipe) -> float:
    """Learning rate of a step: linear warm-up, then half a cosine down to zero."""
    if step < WARMUP_STEPS:
        return recipe.learning_rate * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, recipe.steps - WARMUP_STEPS)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_objective(recipe: Recipe, teacher_weights: Path, device: str) -> Objective:
    """The objective of a recipe: the teacher with its weights, the student with random ones."""
    teacher_spec, spec = find_spec(recipe.teacher), find_spec(recipe.student)
    if teacher_spec.family != "patchcore" or spec.family not in OBJECTIVES:
        raise BackboneError(
            "the teacher must be a patchcore-* network and the student another of these or "
            "efficientad-*; "
            f"got {recipe.teacher} and {recipe.student}."
        )
    teacher = Trunk(teacher_spec, load_state(teacher_weights)).requires_grad_(False)
    torch.manual_seed(recipe.seed)
    layout = torch.channels_last
    objective = OBJECTIVES[spec.family](teacher.to(device).to(memory_format=layout), spec)
    objective.learner.to(device).to(memory_format=layout)
    return objective


def train(recipe: Recipe, teacher_weights: Path, images: Path, out: Path, device: str) -> None:
    """Run or resume the recipe; writes ``out`` (fp16 OpenVINO IR) and the files beside it."""
    state_file, log_file = out.with_suffix(".state.pt"), out.with_suffix(".log.csv")
    objective = make_objective(recipe, teacher_weights, device)
    optimizer = torch.optim.AdamW(
        objective.learner.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    crops = Crops(images, recipe)
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        if state["recipe"] != asdict(recipe):
            raise BackboneError(f"{state_file} belongs to another recipe: {state['recipe']}")
        objective.learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        statistics, start = state["statistics"], state["step"]
    else:
        statistics, start = channel_statistics(objective, crops, device, batches=10), 0
        layers = ",".join(f"loss_{i}" for i in range(1, len(statistics) + 1))
        log_file.write_text(f"step,{layers},seconds\n")

    objective.learner.train()
    began = time.monotonic()
    running = torch.zeros(len(statistics))
    for step in range(start, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, recipe)
        running += _step(objective, crops.batch(step).to(device), statistics, optimizer)
        done = step + 1
        if done % SAVE_EVERY == 0 or done == recipe.steps:
            count = (done - 1) % SAVE_EVERY + 1
            losses = ",".join(f"{v:.4f}" for v in (running / count).tolist())
            with log_file.open("a") as log:
                log.write(f"{done},{losses},{time.monotonic() - began:.0f}\n")
            running.zero_()
            partial = state_file.with_suffix(".tmp")
            torch.save(
                {
                    "recipe": asdict(recipe),
                    "step": done,
                    "learner": objective.learner.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "statistics": statistics,
                },
                partial,
            )
            partial.replace(state_file)
    _write(objective, recipe, out, len(crops.paths))


def _step(
    objective: Objective,
    pixels: Tensor,
    statistics: list[list[Tensor]],
    optimizer: torch.optim.Optimizer,
) -> Tensor:
    """Run one training step and return the losses by layer."""
    with torch.no_grad():
        targets = [
            (m - mean) / deviation
            for m, (mean, deviation) in zip(objective.targets(pixels), statistics, strict=True)
        ]
    pairs = zip(objective.predictions(pixels), targets, strict=True)
    losses = torch.stack([nn.functional.mse_loss(p, t) for p, t in pairs])
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(losses.sum())
    optimizer.step()
    return losses.detach().cpu()


def _write(objective: Objective, recipe: Recipe, out: Path, images: int) -> None:
    """Write the student as .safetensors and as IR, both fp16, and the recipe."""
    objective.learner.cpu().eval()
    state = objective.state()
    halved = {k: v.half().contiguous() for k, v in state.items() if v.is_floating_point()}
    for name, weight in halved.items():
        state[name].copy_(weight)
    weights = out.with_suffix(".safetensors")
    save_file(halved, weights)
    export(objective.network(), find_spec(recipe.student), out, sha256_of(weights), half=True)
    recipe_text = json.dumps({**asdict(recipe), "images": images}, indent=2)
    out.with_suffix(".recipe.json").write_text(recipe_text + "\n")


_USUAL: dict[str, dict[str, Any]] = {
    "patchcore": {
        "steps": 3600, "batch": 24, "crop": 160, "learning_rate": 2e-3, "weight_decay": 0.02
    },
    "pdn": {
        "steps": 60_000, "batch": 16, "crop": 512, "learning_rate": 1e-4, "weight_decay": 1e-5
    },
}  # fmt: skip


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m backbones.distillation.train", description=__doc__
    )
    parser.add_argument("--teacher", default="patchcore-resnet50-v1")
    parser.add_argument("--teacher-weights", type=Path, required=True)
    parser.add_argument("--student", default="compact")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the .xml to write; .bin, .json, .safetensors, .recipe.json, .log.csv, .state.pt go "
        "beside it",
    )
    parser.add_argument("--steps", type=int, help="3600; 60000 for a PDN, as in its paper")
    parser.add_argument("--batch", type=int, help="24; 16 for a PDN")
    parser.add_argument("--crop", type=int, help="160; 512 for a PDN, which is given half of that")
    parser.add_argument("--learning-rate", type=float, help="2e-3; 1e-4 for a PDN")
    parser.add_argument("--weight-decay", type=float, help="0.02; 1e-5 for a PDN")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    try:
        chosen = dict(_USUAL[find_spec(args.student).family])
        chosen |= {name: getattr(args, name) for name in chosen if getattr(args, name) is not None}
        recipe = Recipe(args.teacher, args.student, seed=args.seed, **chosen)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        train(recipe, args.teacher_weights, args.images, args.out, args.device)
    except BackboneError as error:
        raise SystemExit(f"distill: {error}") from error


if __name__ == "__main__":
    main()
