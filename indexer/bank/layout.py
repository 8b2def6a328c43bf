"""Layouts divide the normal images of a category between memory bank and calibration.

Each group of images is ranked by the hash of its name, and the groups with the lowest ranks
calibrate. So the order of arrival hardly matters and the scores never do: a calibration image is
drawn like any other, as split conformal prediction requires. Each image is a group of its own
unless the data set says otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

from backbones.base import BackboneSpec
from backbones.errors import VecspectError
from indexer.bank.extension import BankExtension, CoveringExtension, OwnChoiceExtension
from indexer.bank.leave_one_out import ReadPatches, leave_one_out_distances
from indexer.bank.selection import BankSelection, OwnSelection, PooledSelection
from indexer.catalog.entry import CatalogEntry, Float32, LayoutName, MemoryBank, Role
from indexer.knn.exact_index import ExactIndex

GroupsOf = Callable[[], Mapping[str, str]]
"""Group of each image by its id, read only if it matters."""


class Layout(Protocol):
    """A way to divide normal images, with its consequences for the memory bank."""

    name: ClassVar[LayoutName]
    calibrating: ClassVar[Role]
    """Role of the images whose scores calibrate."""
    needed: ClassVar[Mapping[str, int]]
    """Smallest numbers of images that a category needs, by the name of their count."""

    def check(self, spec: BackboneSpec) -> None:
        """Raise VecspectError if the images of this backbone cannot be divided in this way."""

    def roles(self, groups: Mapping[str, str], share: float, seed: int) -> dict[str, Role]:
        """Role of each image by its sha256; ``share`` of them calibrate.

        Args:
            groups: group of each image by its sha256.
        """

    def roles_of_additions(self, entry: CatalogEntry, groups: Mapping[str, str]) -> dict[str, Role]:
        """Role of each added image by its sha256."""

    def selection(self, entry: CatalogEntry, images: int) -> BankSelection:
        """The selection of a memory bank from the patches of at most so many images."""

    def extension(self, entry: CatalogEntry, bank: MemoryBank) -> BankExtension:
        """The choice among the patches of images that are added later."""

    def distances(
        self,
        bank: MemoryBank,
        image_ids: Sequence[str],
        groups: GroupsOf,
        patches: ReadPatches,
    ) -> Iterator[tuple[str, Float32]]:
        """(image id, distances (H, W)) of calibration images to the bank without their own patches.

        Args:
            groups: group of each of these images and of every image of the bank.
        """


def held_out(normal: int, share: float) -> int:
    """Number of so many normal images, of groups of their own, that calibrate by hold-out."""
    return min(normal - 1, max(1, round(share * normal)))


class HoldOut:
    """Some normal images calibrate; the others form the memory bank."""

    name: ClassVar[LayoutName] = "holdout"
    calibrating: ClassVar[Role] = "calibration"
    needed: ClassVar[Mapping[str, int]] = {"bank_images": 1, "calibration_images": 1}

    def check(self, spec: BackboneSpec) -> None:
        """Accept every backbone: its images can always be held out."""

    def roles(self, groups: Mapping[str, str], share: float, seed: int) -> dict[str, Role]:
        """Role of each image by its sha256; ``share`` of them calibrate."""
        return _lowest_places(groups, held_out(len(groups), share), seed, spared=1)

    def roles_of_additions(self, entry: CatalogEntry, groups: Mapping[str, str]) -> dict[str, Role]:
        """Role of each added image by its sha256.

        As many images calibrate as the category needs to keep its share.
        """
        bank, calibration = entry.counts["bank_images"], entry.counts["calibration_images"]
        share = entry.settings["holdout"] * (bank + calibration + len(groups))
        lacking = max(0, round(share) - calibration)
        return _lowest_places(groups, lacking, int(entry.settings["seed"]))

    def selection(self, entry: CatalogEntry, images: int) -> BankSelection:
        """One coreset of the patches of all images."""
        return PooledSelection(entry, images)

    def extension(self, entry: CatalogEntry, bank: MemoryBank) -> BankExtension:
        """The choice of patches that the bank does not cover yet."""
        return CoveringExtension(entry, bank)

    def distances(
        self,
        bank: MemoryBank,
        image_ids: Sequence[str],
        groups: GroupsOf,
        patches: ReadPatches,
    ) -> Iterator[tuple[str, Float32]]:
        """(image id, distances (H, W)) of calibration images to the bank, which lacks them."""
        index = ExactIndex(bank.vectors)
        for image_id, array in patches(image_ids):
            yield image_id, index.search(array).distances


class LeaveOneOut:
    """Every normal image is in the memory bank and also calibrates."""

    name: ClassVar[LayoutName] = "leave-one-out"
    calibrating: ClassVar[Role] = "bank"
    needed: ClassVar[Mapping[str, int]] = {"bank_images": 2}

    def check(self, spec: BackboneSpec) -> None:
        """Raise VecspectError if one image changes the embeddings of others."""
        if spec.level == "image" or spec.normalised:
            raise VecspectError(
                f"cross-conformal needs patch embeddings that no other image changes; "
                f"'{spec.name}' has none. Use --calibration conformal."
            )

    def roles(self, groups: Mapping[str, str], share: float, seed: int) -> dict[str, Role]:
        """Role of each image by its sha256: all have the same one."""
        return dict.fromkeys(groups, "bank")

    def roles_of_additions(self, entry: CatalogEntry, groups: Mapping[str, str]) -> dict[str, Role]:
        """Role of each added image by its sha256."""
        return dict.fromkeys(groups, "bank")

    def selection(self, entry: CatalogEntry, images: int) -> BankSelection:
        """A coreset of each image's own patches."""
        return OwnSelection(entry)

    def extension(self, entry: CatalogEntry, bank: MemoryBank) -> BankExtension:
        """Each image's own choice of patches, which is empty for a near duplicate."""
        return OwnChoiceExtension(entry, bank)

    def distances(
        self,
        bank: MemoryBank,
        image_ids: Sequence[str],
        groups: GroupsOf,
        patches: ReadPatches,
    ) -> Iterator[tuple[str, Float32]]:
        """(image id, distances (H, W)) of each image to the bank's patches of other groups."""
        return leave_one_out_distances(bank, image_ids, groups(), patches)


LAYOUTS: dict[LayoutName, Layout] = {"holdout": HoldOut(), "leave-one-out": LeaveOneOut()}


def layout_of(entry: CatalogEntry) -> Layout:
    """The layout with which the category was learnt."""
    return LAYOUTS[entry.layout]


def _lowest_places(
    groups: Mapping[str, str], count: int, seed: int, *, spared: int = 0
) -> dict[str, Role]:
    """The groups with the lowest ranks, as many as hold at least ``count`` images.

    Args:
        spared: groups that never calibrate, even if fewer than ``count`` images are left.
    """

    def place(group: str) -> bytes:
        return hashlib.sha256(f"{seed}/{group}".encode()).digest()

    members: dict[str, list[str]] = {}
    for sha256, group in groups.items():
        members.setdefault(group, []).append(sha256)
    chosen: set[str] = set()
    for group in sorted(members, key=place)[: len(members) - spared]:
        if len(chosen) >= count:
            break
        chosen.update(members[group])
    return {sha256: "calibration" if sha256 in chosen else "bank" for sha256 in groups}
