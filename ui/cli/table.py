"""The commands by group: where each lies, and its line in `--help`.

Nothing is imported here but names: a command's module is loaded when the command is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listed:
    """A command: ``module:function`` below `ui.cli.commands`, and one line of help."""

    target: str
    help: str


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """A command that has commands of its own, by panel and name."""

    panels: Table
    help: str


Table = Mapping[str, Mapping[str, Listed | ListedGroup]]
"""Panel of the help -> name of a command -> where it lies."""

STUDIES: Table = {
    "Studies": {
        "calibration": Listed(
            "studies:calibration", "Compare realised with nominal false-reject rates."
        ),
        "updates": Listed("studies:updates", "Measure incremental updates, audit and drift alarm."),
        "precision": Listed("studies:precision", "Compare f32, bf16 and int8."),
        "threads": Listed("studies:threads", "Score from eight threads that share an inspector."),
    }
}

COMMANDS: Table = {
    "Learn and score": {
        "demo": Listed("app:demo", "Do the whole job on procedurally made data."),
        "index": Listed("learn:index", "Learn a category from its normal images, calibrate it."),
        "calibrate": Listed("learn:calibrate", "Set the levels, or the calibration method."),
        "score": Listed("score:score", "Score images: verdict, p-value, worst region, evidence."),
        "export": Listed("networks:export", "Write a network for machines without torch."),
        "ui": Listed("app:ui", "Open the app in a browser."),
    },
    "Look up": {
        "status": Listed("status:status", "List the categories of the store."),
        "similar": Listed("retrieval:similar", "Show the library images most like an image."),
        "clusters": Listed("retrieval:clusters", "Group defective images into candidate types."),
        "outliers": Listed("retrieval:outliers", "List the most unusual normal images."),
        "backbones": Listed("networks:backbones", "List, describe or verify networks."),
        "config": Listed("config:config", "Show the settings and where each comes from."),
    },
    "Keep current": {
        "add": Listed("update:add", "Add images to a category."),
        "label": Listed("retrieval:label", "Name what library images show."),
        "audit": Listed("status:audit", "Rank the normal images by how unusual they are."),
        "quarantine": Listed("update:quarantine", "Take an image out of the memory bank."),
        "remove": Listed("update:remove", "Remove images from a category."),
        "drift": Listed("status:drift", "Tell whether scores, light and focus have drifted."),
        "history": Listed("update:history", "List the revisions of a category."),
        "rollback": Listed("update:rollback", "Go back to an earlier revision."),
    },
    "Measure": {
        "benchmark": Listed("benchmark:benchmark", "Learn and measure labelled data sets."),
        "speed": Listed("speed:speed", "Time vecspect beside other ways to do the same."),
        "study": ListedGroup(STUDIES, "Measure what vecspect promises."),
    },
}
