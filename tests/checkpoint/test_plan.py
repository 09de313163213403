"""The plan: every byte once, by a rank that has it, spread evenly, in objects of a fair size."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.tensor import Partial, Replicate, Shard
from torch.distributed.tensor._utils import _compute_local_shape_and_global_offset

from ktrain.checkpoints.boxes import Box, intersect, split, tiles, whole
from ktrain.errors import CheckpointError
from ktrain_trainer.checkpoint.plan import Layout, Piece, make_plan
from ktrain_trainer.checkpoint.sharding import box_at

SHAPES = st.lists(st.integers(0, 7), max_size=4).map(tuple)


def replicated(shape: tuple[int, ...], ranks: int, dtype: str = "float32") -> Layout:
    return Layout(dtype, shape, (Piece(whole(shape), tuple(range(ranks))),) if 0 not in shape else ())


def sharded(shape: tuple[int, ...], ranks: int) -> Layout:
    boxes = [box_at(shape, (ranks,), (rank,), (Shard(0),)) for rank in range(ranks)]
    return Layout("float32", shape, tuple(Piece(box, (rank,)) for rank, box in enumerate(boxes) if box.numel))


@settings(deadline=None)
@given(shape=SHAPES, limit=st.integers(1, 50))
def test_splitting_gives_tiles_of_at_most_the_limit(shape: tuple[int, ...], limit: int) -> None:
    parts = list(split(whole(shape), limit))
    assert tiles(parts, shape)
    assert all(0 < part.numel <= limit for part in parts)


@settings(deadline=None, max_examples=30)
@given(shape=SHAPES, limit=st.integers(10, 40))
def test_a_gap_or_an_overlap_is_no_tiling(shape: tuple[int, ...], limit: int) -> None:
    parts = list(split(whole(shape), limit))
    for number in range(len(parts)):
        assert not tiles(parts[:number] + parts[number + 1 :], shape)
        if len(parts) > 1:
            assert not tiles([*parts[:number], parts[number - 1], *parts[number + 1 :]], shape)


def test_tiles_that_are_not_contiguous_are_checked_too() -> None:
    left, right = Box((0, 0), (4, 2)), Box((0, 2), (4, 2))
    assert tiles([left, right], (4, 4))
    assert not tiles([left, Box((0, 1), (4, 2))], (4, 4))
    assert not tiles([left, left], (4, 4))


def test_boxes_share_what_both_have() -> None:
    assert intersect(Box((0, 0), (4, 4)), Box((2, 3), (9, 9))) == Box((2, 3), (2, 1))
    assert intersect(Box((0,), (4,)), Box((4,), (4,))) is None
    assert intersect(Box((), ()), Box((), ())) == Box((), ())


@settings(deadline=None)
@given(
    shapes=st.lists(SHAPES, max_size=8),
    ranks=st.integers(1, 5),
    object_bytes=st.integers(1, 400),
    kinds=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_every_byte_is_written_once_by_a_rank_that_holds_it(
    shapes: list[tuple[int, ...]], ranks: int, object_bytes: int, kinds: list[bool]
) -> None:
    layouts = {
        f"t{n}": sharded(shape, ranks) if shape and kinds[n] else replicated(shape, ranks)
        for n, shape in enumerate(shapes)
    }
    plan = make_plan(layouts, world_size=ranks, object_bytes=object_bytes)
    boxes: dict[str, list[Box]] = defaultdict(list)
    for item in plan.objects:
        assert item.slots[0].begin == 0
        assert item.slots[-1].end == item.size_bytes
        assert item.size_bytes < 2 * max(object_bytes, 4) + 4
        for slot, after in zip(item.slots, (*item.slots[1:], None), strict=True):
            assert slot.end - slot.begin == slot.box.numel * 4
            assert after is None or slot.end == after.begin
            pieces = layouts[slot.name].pieces
            assert any(item.rank in it.holders and intersect(it.box, slot.box) == slot.box for it in pieces)
            boxes[slot.name].append(slot.box)
    for name, layout in layouts.items():
        assert tiles(boxes[name], layout.shape)


def test_replicated_bytes_are_spread_evenly_even_of_one_large_tensor() -> None:
    plan = make_plan(
        {"big": replicated((64 << 20,), 4), "small": replicated((3,), 4)}, world_size=4, object_bytes=32 << 20
    )
    loads = [sum(it.size_bytes for it in plan.objects if it.rank == rank) for rank in range(4)]
    assert max(loads) - min(loads) <= 17 << 20
    assert all(16 << 20 <= it.size_bytes <= 64 << 20 for it in plan.objects)


def test_ranks_with_shards_of_their_own_write_less_of_what_is_shared() -> None:
    lone = Layout("uint8", (8 << 20,), (Piece(whole((8 << 20,)), (0,)),))
    plan = make_plan({"lone": lone, "both": replicated((2 << 20,), 2)}, world_size=2, object_bytes=1 << 20)
    loads = [sum(it.size_bytes for it in plan.objects if it.rank == rank) for rank in range(2)]
    assert loads == [8 << 20, 8 << 20]


def test_small_tensors_are_packed() -> None:
    layouts = {f"t{n}": replicated((10,), 1) for n in range(1000)}
    assert len(make_plan(layouts, world_size=1, object_bytes=32 << 20).objects) == 1


def test_the_order_of_names_does_not_change_the_plan() -> None:
    layouts = {name: replicated((n,), 3) for n, name in enumerate("dcba", 1)}
    again = dict(sorted(layouts.items()))
    assert make_plan(layouts, world_size=3, object_bytes=8) == make_plan(again, world_size=3, object_bytes=8)


def test_other_shapes_have_another_digest() -> None:
    plans = [
        make_plan({"a": replicated(shape, 1)}, world_size=1, object_bytes=99) for shape in ((4,), (2, 2), (0,), ())
    ]
    assert len({plan.digest for plan in plans}) == 4


@settings(deadline=None)
@given(
    shape=st.lists(st.integers(0, 13), min_size=2, max_size=3).map(tuple),
    mesh=st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple),
    data=st.data(),
)
def test_shards_lie_where_torch_puts_them(shape: tuple[int, ...], mesh: tuple[int, ...], data: st.DataObject) -> None:
    kinds = st.one_of(st.just(Replicate()), st.integers(0, len(shape) - 1).map(Shard))
    placements = tuple(data.draw(kinds) for _ in mesh)
    coordinate = [data.draw(st.integers(0, n - 1)) for n in mesh]
    found = box_at(shape, mesh, coordinate, placements)
    size, offset = _compute_local_shape_and_global_offset(shape, mesh, lambda dim: coordinate[dim], placements)
    assert found.size == tuple(size)
    assert found.numel == 0 or found.offset == tuple(offset)


def test_a_placement_that_cannot_be_stored_is_said() -> None:
    with pytest.raises(CheckpointError, match="can store Shard and Replicate only"):
        box_at((4,), (2,), (0,), (Partial(),))
