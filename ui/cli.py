"""The command line. Exit codes: 0 done, 1 failed or something skipped, 2 usage, 3 anomaly found."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backbones.errors import VecspectError

if TYPE_CHECKING:
    from indexer.settings import Settings
    from indexer.store import VectorStore
    from search.inspector import Inspector, Prediction

FAILED, ANOMALY, INTERRUPTED = 1, 3, 130

app = typer.Typer(
    help="Finds defects in product images, learnt from normal images only and kept in Qdrant.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Category = Annotated[str, typer.Option("--category", "-c", help="Name of the category.")]
Store = Annotated[
    str | None,
    typer.Option(help="Folder of the embedded store, or URL of a Qdrant server."),
]
BackboneName = Annotated[
    str | None, typer.Option("--backbone", help="A name from `vecspect backbones`.")
]
Weights = Annotated[Path | None, typer.Option(help="Weight file, .safetensors or .pth.")]
Coreset = Annotated[
    float | None, typer.Option(help="Share of the normal patches kept in the memory bank.")
]
Holdout = Annotated[
    float | None, typer.Option(help="Share of the normal images kept out to calibrate.")
]
Seed = Annotated[int | None, typer.Option(help="Of the split and the coreset.")]
Reject = Annotated[
    float | None, typer.Option("--reject", help="False-reject rate at which to reject.")
]
Review = Annotated[
    float | None, typer.Option("--review", help="False-reject rate at which to send to review.")
]
Precision = Annotated[
    str | None, typer.Option(help="f32 or bf16; by default the CPU's faster one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def index(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="MVTec folder, folder of normal images, CSV.")
    ],
    category: Category,
    backbone: BackboneName = None,
    weights: Weights = None,
    coreset: Coreset = None,
    holdout: Holdout = None,
    seed: Seed = None,
    reject: Reject = None,
    review: Review = None,
    precision: Precision = None,
    store: Store = None,
) -> None:
    """Learn a category from the normal images of DATASET and calibrate it.

    Defective images found beside them join the image library, for `similar`.
    """
    from backbones.registry import load_backbone
    from indexer.build import build_index
    from indexer.dataset import read_dataset
    from search.calibration import ConformalCalibrator, change_levels
    from ui.console import note, note_skipped, progress_bars, say
    from ui.output import describe_build, describe_levels

    settings = _settings(
        store=store,
        backbone=backbone,
        weights=weights,
        coreset=coreset,
        holdout=holdout,
        seed=seed,
        alpha_reject=reject,
        alpha_review=review,
        precision=precision,
    )
    levels = (settings.alpha_reject, settings.alpha_review)
    records = read_dataset(dataset)
    network = load_backbone(
        settings.backbone, weights=settings.weights, precision=settings.precision
    )
    with _open(settings) as opened:
        with progress_bars() as on_progress:
            build = build_index(
                records,
                category=category,
                backbone=network,
                store=opened,
                calibrator=ConformalCalibrator(*levels),
                coreset=settings.coreset,
                holdout=settings.holdout,
                seed=settings.seed,
                on_progress=on_progress,
            )
        entry = build.entry
        if not build.changed:
            entry = change_levels(opened, entry, alpha_reject=levels[0], alpha_review=levels[1])
    for line in describe_build(build, levels_changed=entry != build.entry):
        say(line)
    say(describe_levels(entry.calibration, settings.holdout))
    for path in build.duplicates:
        note(f"left out {path}: same bytes as another image of the data set")
    for skipped in build.skipped:
        note_skipped(skipped)
    if build.skipped:
        raise typer.Exit(FAILED)


@app.command()
def score(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Images, folders or globs.")],
    category: Category,
    as_json: AsJson = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the results to this file.")
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Write an explaining picture per image to this folder.")
    ] = None,
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="Exit with 3 if an image is rejected.")
    ] = False,
    backbone: BackboneName = None,
    weights: Weights = None,
    store: Store = None,
) -> None:
    """Score images against a category: verdict, p-value, worst region and its evidence.

    An image that cannot be read is named on stderr, the others are scored, and the exit code
    is 1.
    """
    from backbones.pipeline import Skipped
    from indexer.dataset import expand_paths
    from search.inspector import Inspector
    from ui.console import note_skipped, progress_bars, say
    from ui.output import csv_writer, describe_prediction

    settings = _settings(store=store)
    files = expand_paths(paths)
    if maps:
        maps.mkdir(parents=True, exist_ok=True)
    skipped = rejected = False
    used: set[str] = set()
    with _open_existing(settings) as opened, csv_writer(csv_file) as write_row:
        inspector = Inspector(opened, category, backbone=backbone, weights=weights)
        with progress_bars() as on_progress:
            for done, outcome in enumerate(inspector.inspect_files(files), 1):
                on_progress("scoring", done, len(files))
                if isinstance(outcome, Skipped):
                    note_skipped(outcome)
                    skipped = True
                    continue
                rejected = rejected or outcome.verdict == "reject"
                fields = outcome.to_dict()
                if maps:
                    fields["map"] = str(_write_map(inspector, outcome, maps, used))
                write_row(fields)
                if as_json:
                    say(json.dumps(fields))
                elif not csv_file:
                    say(describe_prediction(outcome))
    if rejected and fail_on_anomaly:
        raise typer.Exit(ANOMALY)
    if skipped:
        raise typer.Exit(FAILED)


@app.command()
def similar(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The query image.")],
    category: Category,
    label: Annotated[str | None, typer.Option(help="normal or defective.")] = None,
    defect_type: Annotated[str | None, typer.Option(help="Only this defect type.")] = None,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 5,
    as_json: AsJson = False,
    backbone: BackboneName = None,
    weights: Weights = None,
    store: Store = None,
) -> None:
    """Show the images of the category's library that look most like IMAGE."""
    from search.inspector import Inspector
    from ui.console import note, say, table

    if label not in (None, "normal", "defective"):
        raise typer.BadParameter(
            f"expected normal or defective, got '{label}'", param_hint="--label"
        )
    with _open_existing(_settings(store=store)) as opened:
        inspector = Inspector(opened, category, backbone=backbone, weights=weights)
        neighbors = inspector.similar(image, top=top, label=label, defect_type=defect_type)
    fields = [
        {name: getattr(neighbor, name) for name in neighbor.__slots__} for neighbor in neighbors
    ]
    if as_json:
        for neighbor_fields in fields:
            say(json.dumps(neighbor_fields))
    elif fields:
        rows = [[f"{f['distance']:.4f}", f["label"], f["defect_type"], f["path"]] for f in fields]
        say(table(["distance", "label", "defect type", "path"], rows))
    else:
        note("no image of the library matches these filters.")


@app.command()
def benchmark(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET", help="Labelled data sets.")],
    backbone: Annotated[
        list[str] | None, typer.Option(help="A name from `vecspect backbones`; repeatable.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Weights of a backbone; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("benchmark_out"),
    brute_force: Annotated[
        bool,
        typer.Option("--brute-force", help="Also score against all normal patches, as a rival."),
    ] = False,
    coreset: Coreset = None,
    holdout: Holdout = None,
    seed: Seed = None,
    reject: Reject = None,
    review: Review = None,
    precision: Precision = None,
) -> None:
    """Learn each data set with each backbone, score its test images, write a report.

    The store in use is not touched.
    """
    from eval.benchmark import BenchmarkSettings, run_benchmark
    from eval.report import write_report
    from eval.summary import summary_table
    from ui.console import note_skipped, progress_bars, say, table

    settings = _settings(
        coreset=coreset,
        holdout=holdout,
        seed=seed,
        alpha_reject=reject,
        alpha_review=review,
        precision=precision,
    )
    skipped: list[Any] = []
    with progress_bars() as on_progress:
        result = run_benchmark(
            datasets,
            backbone or [settings.backbone],
            out=out,
            weights=_weights_by_name(weights or []),
            settings=BenchmarkSettings(
                coreset=settings.coreset,
                holdout=settings.holdout,
                seed=settings.seed,
                alpha_reject=settings.alpha_reject,
                alpha_review=settings.alpha_review,
                precision=settings.precision,
            ),
            brute_force=brute_force,
            on_progress=on_progress,
            on_skipped=skipped.append,
            on_report=lambda so_far: write_report(so_far, out),
        )
    report = write_report(result, out)
    summary = summary_table(result)
    say(table([column.title for column in summary.columns], summary.texts))
    say(f"\nreport: {report.html}")
    for item in skipped:
        note_skipped(item)
    if skipped:
        raise typer.Exit(FAILED)


@app.command()
def speed(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A data set with test images.")
    ],
    weights: Annotated[Path, typer.Option(help="Weight file, .safetensors or .pth.")],
    backbone: BackboneName = None,
    only: Annotated[
        str, typer.Option(help="What to time: images (learning and scoring), knn or coreset.")
    ] = "images",
    images: Annotated[int, typer.Option(min=1, help="Test images to time.")] = 40,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Also time anomalib or faiss (see make compare-env); repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("speed_out"),
    coreset: Coreset = None,
    precision: Precision = None,
) -> None:
    """Time vecspect beside other ways to do the same, in alternation in one run."""
    from ui.speed import run_speed

    settings = _settings(backbone=backbone, coreset=coreset, precision=precision)
    run_speed(
        only,
        dataset,
        settings.backbone,
        weights,
        images=images,
        against=against or [],
        out=out,
        coreset=settings.coreset,
        precision=settings.precision,
    )


@app.command()
def status(as_json: AsJson = False, store: Store = None) -> None:
    """List the categories of the store, with revision, bank size and calibration."""
    from indexer.schema import read_catalog
    from search.calibration import Calibration
    from ui.console import note, say, table

    with _open_existing(_settings(store=store)) as opened:
        entries = read_catalog(opened)
        location = opened.location
    described: list[dict[str, Any]] = []
    for entry in entries:
        calibration = Calibration.from_payload(entry.calibration)
        described.append(
            {
                "category": entry.category,
                "backbone": entry.backbone,
                "revision": entry.revision,
                **entry.counts,
                "threshold": calibration.threshold,
                "alpha_reject": calibration.alpha_reject,
                "alpha_review": calibration.alpha_review,
                "smallest_alpha": 1 / (calibration.n + 1),
                **entry.settings,
                "precision": entry.precision,
                "fingerprint": entry.fingerprint,
                "built_at": entry.built_at,
                "versions": entry.versions,
            }
        )
    if as_json:
        say(json.dumps({"store": location, "categories": described}, indent=2))
        return
    say(f"store {location}")
    if not described:
        note("no category yet. Learn one: vecspect index DATASET --category NAME")
        return
    heads = ["category", "backbone", "revision", "bank images", "patches", "calibration", "test"]
    heads += ["reject level", "review level", "threshold", "built at"]
    rows = [
        [
            d["category"],
            d["backbone"],
            str(d["revision"]),
            str(d["bank_images"]),
            str(d["bank_patches"]),
            str(d["calibration_images"]),
            str(d["test_images"]),
            f"{d['alpha_reject']:.2%}",
            f"{d['alpha_review']:.2%}",
            f"{d['threshold']:.4g}",
            d["built_at"],
        ]
        for d in described
    ]
    say(table(heads, rows))


@app.command()
def backbones() -> None:
    """List the known backbones and whether they run here and now."""
    from backbones.registry import list_backbones
    from ui.console import say, table

    rows = [
        [
            state.spec.name,
            f"{state.spec.grid}x{state.spec.grid}x{state.spec.patch_dim}",
            str(state.spec.input_size),
            f"{state.spec.parameters:g}",
            state.state,
            state.spec.licence,
        ]
        for state in list_backbones()
    ]
    say(table(["name", "patches", "input px", "M weights", "here and now", "licence"], rows))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, store and report.")] = Path(
        "demo_out"
    ),
) -> None:
    """Do the whole job on procedurally made data with the bundled network."""
    from ui.demo import run_demo

    run_demo(out)


def main() -> None:
    """Entry point: explained errors become one line and exit code 1."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `vecspect score … | head` ends quietly
    try:
        app()
    except VecspectError as error:
        _fail(str(error))
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        _fail(f"{error.strerror or error}{where}")
    except KeyboardInterrupt:
        sys.stderr.write("vecspect: interrupted; run the same command again to finish.\n")
        sys.exit(INTERRUPTED)


def _fail(message: str) -> None:
    sys.stderr.write(f"vecspect: {' '.join(message.split())}\n")
    sys.exit(FAILED)


def _settings(**flags: Any) -> Settings:
    from indexer.settings import load_settings

    return load_settings(**flags)


def _open(settings: Settings) -> VectorStore:
    from indexer.store import open_store

    key = settings.api_key.get_secret_value() if settings.api_key else None
    return open_store(settings.store, api_key=key, prefer_grpc=settings.prefer_grpc)


def _open_existing(settings: Settings) -> VectorStore:
    """For commands that only read: a mistyped folder is named, not made."""
    if "://" not in settings.store and not Path(settings.store).expanduser().is_dir():
        raise VecspectError(
            f"no store at {settings.store}. Name another with --store, or learn a category: "
            "vecspect index DATASET --category NAME"
        )
    return _open(settings)


def _weights_by_name(pairs: list[str]) -> dict[str, Path]:
    named = {}
    for pair in pairs:
        name, separator, file = pair.partition("=")
        if not separator or not file:
            raise typer.BadParameter(
                f"expected NAME=FILE, for example patchcore-resnet18=resnet18.safetensors, "
                f"got '{pair}'",
                param_hint="--weights",
            )
        named[name] = Path(file)
    return named


def _write_map(inspector: Inspector, prediction: Prediction, folder: Path, used: set[str]) -> Path:
    """Save the picture under the image's name; a repeated name gets a number."""
    name, number = prediction.path.stem, 1
    while name in used:
        number += 1
        name = f"{prediction.path.stem}-{number}"
    used.add(name)
    file = folder / f"{name}.png"
    inspector.explain(prediction).save(file)
    return file
