"""Loops of the exact search, compiled for the processor at hand.

All compiled code is in this file, because numba's disk cache checks the age of one file only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])

LANES = 16
"""Bank vectors per block: 16 sums of 32 bits fill the widest registers."""
COARSE = 64
"""Number of values of a coarse vector."""
TILE = 6
"""Queries compared with a block at a time: their sums, the block's values and those of a query fit
into 16 registers, even without AVX-512."""
PADDING = -1
"""Value in ``rows`` of a place without a vector."""
LOWEST, HIGHEST = -(2**31), 2**31 - 1
ROUNDING = 2.0**-24
"""Largest relative error of one float32 operation."""


def _compiled(function: F) -> F:
    # sums may be reordered and fused with their products: the bounds allow for every order
    compiled = functools.partial(
        numba.njit, function, nogil=True, fastmath={"reassoc", "contract", "nsz"}
    )
    try:
        return cast(F, compiled(cache=True))
    except RuntimeError:  # neither the package's folder nor the user's is writable
        return cast(F, compiled())


def _products_of_tile(
    _: Any, blocks: Any, block: Any, halves: Any, queries: Any, rows: Any, floors: Any, sums: Any
) -> Any:
    """Sums of a block's products with `TILE` queries, and whether any reaches its floor.

    ``sums[i, j] = halves[block, j] + queries[rows[i]] . (vector j of the block)``, in 32 bits.

    Pairs of 16-bit products are added in one instruction (vpdpwssd, vpmaddwd) if the processor has
    it: LLVM recognises the pattern, and replaces it otherwise.
    """
    signature = numba.types.uint32(blocks, block, halves, queries, rows, floors, sums)
    word, long = ir.IntType(32), ir.IntType(64)
    values = ir.VectorType(ir.IntType(16), 2 * LANES)
    wide = ir.VectorType(word, 2 * LANES)
    lanes = ir.VectorType(word, LANES)
    any_lanes, any_wide = (ir.Constant(kind, ir.Undefined) for kind in (lanes, wide))
    first = ir.Constant(lanes, [0] * LANES)
    even, odd = (ir.Constant(lanes, list(range(start, 2 * LANES, 2))) for start in (0, 1))
    pairs = COARSE // 2

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(position: int, kind: Any) -> Any:
            array = context.make_array(signature.args[position])
            data = array(context, builder, arguments[position]).data
            return builder.bitcast(data, kind.as_pointer())

        def load(base: Any, offset: Any, align: int) -> Any:
            return builder.load(builder.gep(base, [offset]), align=align)

        def everywhere(value: Any) -> Any:
            alone = builder.insert_element(any_lanes, value, word(0))
            return builder.shuffle_vector(alone, any_lanes, first)

        block = arguments[1]
        start = builder.gep(pointer(0, values), [builder.mul(block, long(pairs))])
        query_pairs, row_numbers = pointer(3, word), pointer(4, long)
        queries = [
            builder.gep(query_pairs, [builder.mul(load(row_numbers, long(i), 8), long(pairs))])
            for i in range(TILE)
        ]
        sums = [load(pointer(2, lanes), block, 4)] * TILE
        for pair in range(pairs):
            vectors = builder.sext(load(start, long(pair), 2), wide)
            for i, query in enumerate(queries):
                value = builder.bitcast(everywhere(load(query, long(pair), 4)), values)
                products = builder.mul(vectors, builder.sext(value, wide))
                two = (builder.shuffle_vector(products, any_wide, part) for part in (even, odd))
                sums[i] = builder.add(sums[i], builder.add(*two))
        floors, target = pointer(5, word), pointer(6, lanes)
        reached = ir.Constant(ir.IntType(LANES), 0)
        for i, total in enumerate(sums):
            builder.store(total, builder.gep(target, [long(i)]), align=4)
            reaches = builder.icmp_signed(">=", total, everywhere(load(floors, long(i), 4)))
            reached = builder.or_(reached, builder.bitcast(reaches, ir.IntType(LANES)))
        return builder.zext(reached, word)

    return signature, generate


_tile_products: Any = intrinsic(_products_of_tile)


class Bank(NamedTuple):
    """A memory bank in groups, each padded to whole blocks of `LANES` places.

    Attributes:
        vectors: (M, D) float32, in any order.
        rows: (P,) int64, the vector at each place, or `PADDING`.
        coarse: (P / LANES, COARSE / 2, LANES, 2) int16, the blocks; see `indexer.knn.skip_bounds`.
        halves: (P / LANES, LANES) int32, -|coarse vector|^2 / 2, rounded up.
        edges: (L + 1,) int64, group i has the blocks ``edges[i]`` to ``edges[i + 1]``.
        low, high: (L, a) float32, the box around the first ``a`` projected values of each group.
    """

    vectors: Float32
    rows: Int64
    coarse: Int16
    halves: Int32
    edges: Int64
    low: Float32
    high: Float32


class Queries(NamedTuple):
    """Queries, and the possible error of the bounds for each of them.

    Attributes:
        vectors: (Q, D) float32.
        projected: (Q, COARSE) float32.
        coarse: (Q, COARSE / 2) int32, pairs of int16.
        squared: (Q,) float64 squared lengths of the coarse vectors.
        rounding: (Q,) float64, error of a difference of projections.
        slack: (Q,) float64, further error of a difference of coarse vectors, in steps.
        unit: length of one step.
    """

    vectors: Float32
    projected: Float32
    coarse: Int32
    squared: Float64
    rounding: Float64
    slack: Float64
    unit: float


class Found(NamedTuple):
    """Least squared distances (Q,) float32 measured so far, and the places (Q,) they belong to."""

    squared: Float32
    places: Int64


@_compiled
def _squared_distance(some: Float32, one: int, others: Float32, other: int) -> np.float32:
    """Squared distance of row ``one`` of ``some`` to row ``other`` of ``others``."""
    total = np.float32(0)
    for k in range(some.shape[1]):
        difference = some[one, k] - others[other, k]
        total += difference * difference
    return total


@_compiled
def _to_box(bank: Bank, group: int, queries: Queries, query: int) -> np.float32:
    """Squared distance of a query's projection from a group's box, along the axes of the box."""
    total = np.float32(0)
    for k in range(bank.low.shape[1]):
        value = queries.projected[query, k]
        beyond = max(bank.low[group, k] - value, value - bank.high[group, k], np.float32(0))
        total += beyond * beyond
    return total


@_compiled
def _settle(bank: Bank, queries: Queries, query: int, place: int, found: Found) -> bool:
    """Measure the vector at a place; True if it is nearer than the best, which it becomes."""
    row = bank.rows[place]
    if row == PADDING:
        return False
    squared = _squared_distance(bank.vectors, row, queries.vectors, query)
    if squared >= found.squared[query]:
        return False
    found.squared[query] = squared
    found.places[query] = place
    return True


@_compiled
def _limits(queries: Queries, query: int, found: Found) -> tuple[float, int]:
    """Limits beyond which no vector is nearer than the best so far.

    The first is an upper limit of squared distances of projections, the second a lower limit of
    sums of products of coarse vectors.
    """
    at_most = np.float64(found.squared[query]) * (1 + (queries.vectors.shape[1] + 4) * ROUNDING)
    distance = math.sqrt(at_most) + queries.rounding[query]
    ceiling = distance * distance * (1 + (queries.projected.shape[1] + 8) * ROUNDING)
    steps = math.sqrt(ceiling) / queries.unit + queries.slack[query]
    floor = (queries.squared[query] - steps * steps * (1 + ROUNDING)) / 2 - 1
    return ceiling, math.floor(max(floor, np.float64(LOWEST)))


@_compiled
def _fill_tile(members: Int64, start: int, many: int, floors: Int32, tile_floors: Int32) -> int:
    """Fill the tile at ``start`` with copies that nothing reaches, and return how many are real."""
    live = min(TILE, many - start)
    for i in range(live):
        tile_floors[i] = floors[members[start + i]]
    for i in range(live, TILE):
        members[start + i] = members[start]
        tile_floors[i] = HIGHEST
    return live


@_compiled
def guess(bank: Bank, queries: Queries, chosen: Int64, found: Found) -> None:
    """Find the nearest coarse vector within the groups ``chosen`` (Q, C), and measure it."""
    count = len(queries.vectors)
    top = np.full(count, LOWEST, np.int32)
    members = np.empty(count + TILE, np.int64)
    floors = np.empty(TILE, np.int32)
    sums = np.empty((TILE, LANES), np.int32)
    for group in range(len(bank.low)):
        many = 0
        for query in range(count):
            for k in range(chosen.shape[1]):
                if chosen[query, k] == group:
                    members[many] = query
                    many += 1
        for start in range(0, many, TILE):
            live = _fill_tile(members, start, many, top, floors)
            tile = members[start : start + TILE]
            for block in range(bank.edges[group], bank.edges[group + 1]):
                if not _tile_products(
                    bank.coarse, block, bank.halves, queries.coarse, tile, floors, sums
                ):
                    continue
                for i in range(live):
                    for lane in range(LANES):
                        if sums[i, lane] >= floors[i]:
                            floors[i] = sums[i, lane]
                            found.places[tile[i]] = block * LANES + lane
            for i in range(live):
                top[tile[i]] = floors[i]
    for query in range(count):
        row = bank.rows[found.places[query]]
        found.squared[query] = _squared_distance(bank.vectors, row, queries.vectors, query)


@_compiled
def scan(bank: Bank, queries: Queries, wanted: NDArray[np.bool_], found: Found) -> None:
    """Lower the distances found to the true minimum for the queries marked in ``wanted`` (Q,)."""
    count = len(queries.vectors)
    floors = np.empty(count, np.int32)
    ceilings = np.empty(count, np.float32)
    for query in range(count):
        ceilings[query], floors[query] = _limits(queries, query, found)
    members = np.empty(count + TILE, np.int64)
    tile_floors = np.empty(TILE, np.int32)
    sums = np.empty((TILE, LANES), np.int32)
    for group in range(len(bank.low)):
        many = 0
        for query in range(count):
            if wanted[query] and _to_box(bank, group, queries, query) <= ceilings[query]:
                members[many] = query
                many += 1
        for start in range(0, many, TILE):
            live = _fill_tile(members, start, many, floors, tile_floors)
            tile = members[start : start + TILE]
            for block in range(bank.edges[group], bank.edges[group + 1]):
                if not _tile_products(
                    bank.coarse, block, bank.halves, queries.coarse, tile, tile_floors, sums
                ):
                    continue
                for i in range(live):
                    for lane in range(LANES):
                        if sums[i, lane] >= tile_floors[i] and _settle(
                            bank, queries, tile[i], block * LANES + lane, found
                        ):
                            query = tile[i]
                            ceilings[query], floors[query] = _limits(queries, query, found)
                            tile_floors[i] = floors[query]


@_compiled
def settle(bank: Bank, queries: Queries, pairs: Int64, found: Found) -> None:
    """Lower the distances found by measuring the ``pairs`` (N, 2) of query and place."""
    for pair in range(len(pairs)):
        _settle(bank, queries, pairs[pair, 0], pairs[pair, 1], found)
