"""From a plan to a manifest."""

from collections.abc import Mapping, Sequence

from ktrain.checkpoints.manifest import FORMAT, Chunk, Manifest, ObjectEntry, TensorEntry
from ktrain.history import Token
from ktrain_trainer.checkpoint.header import Header
from ktrain_trainer.checkpoint.plan import Layout, Plan


def make_manifest(
    token: Token,
    header: Header,
    *,
    world_size: int,
    objects: Sequence[ObjectEntry],
    tensors: Mapping[str, TensorEntry],
) -> Manifest:
    """Of a copy that the ranks have made together, in the epoch of `token`."""
    return Manifest(
        format=FORMAT,
        run=header.run,
        attempt=token.attempt,
        epoch=token.epoch,
        step=header.step,
        created=header.created,
        world_size=world_size,
        meta=header.meta,
        optimizer=header.optimizer,
        values=header.values,
        aliases=header.aliases,
        objects=tuple(objects),
        tensors=dict(tensors),
    )


def tensor_entries(layouts: Mapping[str, Layout], plan: Plan) -> dict[str, TensorEntry]:
    """Where each tensor's parts lie in the plan's objects."""
    chunks: dict[str, list[Chunk]] = {name: [] for name in layouts}
    for index, item in enumerate(plan.objects):
        for slot in item.slots:
            chunks[slot.name].append(Chunk(slot.box.offset, slot.box.size, index, slot.begin, slot.end))
    return {
        name: TensorEntry(layout.dtype, layout.shape, tuple(sorted(chunks[name], key=lambda chunk: chunk.offset)))
        for name, layout in layouts.items()
    }
