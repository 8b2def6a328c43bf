"""The options that several commands share, and what they turn into."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from backbones.base import Backbone
    from indexer.catalog.category import Category as LearntCategory
    from search.inspector import Inspector
    from ui.settings import AppSettings

Name = TypeVar("Name", bound=str)

FAILED, ANOMALY = 1, 3
"""Exit codes: something failed or was skipped; an anomaly was found."""

Category = Annotated[str, typer.Option("--category", "-c", help="Name of the category.")]
Store = Annotated[
    str | None, typer.Option(help="Folder of the embedded store, or URL of a Qdrant server.")
]
BackboneName = Annotated[
    str | None,
    typer.Option("--backbone", help="A name from `vecspect backbones`, or an exported folder."),
]
BackboneNames = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone", metavar="NAME", help="A name from `vecspect backbones`; repeatable."
    ),
]
NamedWeights = Annotated[
    list[str] | None,
    typer.Option("--weights", metavar="NAME=FILE", help="Weights of a backbone; repeatable."),
]
Labelled = Annotated[list[Path], typer.Argument(metavar="DATASET", help="Labelled data sets.")]
Weights = Annotated[Path | None, typer.Option(help="Weight file, .safetensors or .pth.")]
Coreset = Annotated[
    float | None, typer.Option(help="Share of the normal patches kept in the memory bank.")
]
Holdout = Annotated[
    float | None, typer.Option(help="Share of the normal images kept out to calibrate.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of the split and the coreset.")]
Reject = Annotated[
    float | None, typer.Option("--reject", help="False-reject rate at which to reject.")
]
Review = Annotated[
    float | None, typer.Option("--review", help="False-reject rate at which to send to review.")
]
Precision = Annotated[
    str | None, typer.Option(help="f32, bf16 or int8; by default the faster of the first two.")
]
Device = Annotated[str | None, typer.Option(help="cpu (OpenVINO, the default) or cuda (torch).")]
InputSize = Annotated[int | None, typer.Option(help="Side in pixels that images are resized to.")]
Crop = Annotated[
    int | None, typer.Option(help="Side in pixels of the centre that is used; the border is lost.")
]
Padding = Annotated[
    bool | None,
    typer.Option("--no-padding", help="EfficientAD without zero padding; loses 16 px of border."),
]
CalibrationMethod = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        help="How thresholds are calibrated: conformal, cross-conformal, sigma or synthetic-f1.",
    ),
]
ImageIds = Annotated[list[str], typer.Argument(metavar="IMAGE_ID")]
ImageId = Annotated[str, typer.Argument(metavar="IMAGE_ID")]
Top = Annotated[int, typer.Option(min=1, max=1000, help="How many.")]
ListedBackbone = Annotated[
    str, typer.Option("--backbone", help="A name from `vecspect backbones`.")
]
WeightFile = Annotated[Path, typer.Option("--weights", help="Weight file, .safetensors or .pth.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class LearningOptions:
    """Options for learning a category."""

    coreset: Coreset
    holdout: Holdout
    seed: Seed
    reject: Reject
    review: Review


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """Options for building a network."""

    precision: Precision
    device: Device
    input_size: InputSize
    crop: Crop
    no_padding: Padding


@dataclass(frozen=True, slots=True)
class StoredOptions:
    """Options that locate a category."""

    backbone: BackboneName
    store: Store

    def open(self, category: str) -> AbstractContextManager[LearntCategory]:
        """The category of that name."""
        from ui.stores import open_category

        return open_category(category, **asdict(self))


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """Options that locate a category and say how its network is run."""

    backbone: BackboneName
    weights: Weights
    device: Device
    store: Store

    def open(self, category: str) -> AbstractContextManager[LearntCategory]:
        """The category of that name."""
        from ui.stores import open_category

        return open_category(category, self.backbone, device=self.device, store=self.store)

    def network(self, category: LearntCategory) -> Backbone:
        """The network that a category was learnt with."""
        from search.inspector import load_category_network

        device = settings_of(device=self.device).device
        return load_category_network(category.entry, self.weights, device)

    def open_inspector(self, category: str) -> AbstractContextManager[Inspector]:
        """The inspector of the category of that name."""
        from ui.stores import open_inspector

        return open_inspector(category, **asdict(self))


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command as Typer reads it: parameters that are dataclasses are spread into options."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        spread, default = {name: hints[name]}, parameter.default
        if name in groups:
            spread, default = get_type_hints(groups[name], include_extras=True), None
        parameters += [
            inspect.Parameter(option, parameter.KEYWORD_ONLY, default=default, annotation=hint)
            for option, hint in spread.items()
        ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def settings_of(**flags: Any) -> AppSettings:
    """Settings of this process, with the flags that were given."""
    from ui.settings import load_settings

    return load_settings(**settings_by_flag(**flags))


def settings_by_flag(
    *,
    reject: float | None = None,
    review: float | None = None,
    no_padding: bool | None = None,
    **flags: Any,
) -> dict[str, Any]:
    """Values of the settings that flags stand for; a flag that was not given is None."""
    padding = False if no_padding else None
    return {"alpha_reject": reject, "alpha_review": review, "padding": padding, **flags}


def one_of(name: str, known: tuple[Name, ...], option: str, expected: str = "") -> Name:
    """The name, if it is known; else a usage error that says what was expected."""
    if name not in known:
        expected = expected or f"{', '.join(known[:-1])} or {known[-1]}"
        raise typer.BadParameter(f"expected {expected}, got '{name}'", param_hint=option)
    return known[known.index(name)]


def calibration_of(name: str | None) -> str | None:
    """The name of a calibration method; a usage error lists those there are."""
    from indexer.calibration.methods import CALIBRATIONS

    if name is None:
        return None
    return one_of(name, tuple(CALIBRATIONS), "--calibration", f"one of {', '.join(CALIBRATIONS)}")


def pairs_of(
    texts: list[str] | None, option: str, form: str = "KEY=VALUE", *, empty: bool = True
) -> dict[str, str]:
    """Values by key; a usage error shows the form, also for a value that may not be empty."""
    pairs = {}
    for text in texts or []:
        key, separator, value = text.partition("=")
        if not (key and separator and (value or empty)):
            raise typer.BadParameter(f"expected {form}, got '{text}'", param_hint=option)
        pairs[key] = value
    return pairs


def weights_by_name(texts: list[str] | None) -> dict[str, Path]:
    """Files by backbone from NAME=FILE; a usage error shows the form."""
    form = "NAME=FILE, for example patchcore-resnet18=resnet18.safetensors"
    pairs = pairs_of(texts, "--weights", form, empty=False)
    return {name: Path(file) for name, file in pairs.items()}
