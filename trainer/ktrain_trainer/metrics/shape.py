"""From what a task saw of a micro-batch to what a metric is updated with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from ktrain.errors import BuildError
from ktrain_trainer.tasks.out import Seen

Options = Mapping[str, Any]
_WHERE: Final = "spec.trainer.eval.metrics"


@dataclass(frozen=True, slots=True)
class Shape:
    """give: the arguments of update(); find: arguments of the metric that the first outputs tell; option: an own key."""

    give: Callable[[Seen, Options], tuple[Any, ...]]
    find: Callable[[Seen, Options], dict[str, Any]]
    option: str = ""

    def __call__(self, seen: Seen, options: Options) -> tuple[Any, ...]:
        return self.give(seen, options)

    def found(self, seen: Seen, args: Options) -> dict[str, Any]:
        """What the metric needs to know beside the job file's args."""
        return self.find(seen, args)


def _is_multiclass(seen: Seen) -> bool:
    return bool(seen.outputs.dim() == seen.targets.dim() + 1 and not seen.targets.is_floating_point())


def _find_classes(seen: Seen, args: Options) -> dict[str, Any]:
    _tensors(seen)
    if _is_multiclass(seen):
        return {"task": "multiclass", "num_classes": seen.outputs.shape[-1]}
    if seen.outputs.dim() > 1 and seen.outputs.shape[-1] > 1 and args.get("task") != "binary":
        return {"task": "multilabel", "num_labels": seen.outputs.shape[-1]}
    return {"task": "binary"}


def _give_classes(seen: Seen, options: Options) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of several classes as they are; of one class as probabilities, which have their threshold at 0.5."""
    if _is_multiclass(seen) and options.get("task") != "binary":
        return _counted(seen)
    return _give_scores(seen, options)


def _give_scores(seen: Seen, options: Options) -> tuple[torch.Tensor, torch.Tensor]:
    outputs, targets = _counted(seen)
    # Here and not by torchmetrics, which looks at each batch whether it is logits: the answer would depend on the batch.
    outputs = seen.scores(outputs) if seen.scores else outputs
    if options.get("task") == "binary":
        outputs = outputs[:, 1] if _is_multiclass(seen) and outputs.shape[-1] == 2 else outputs.flatten()
        targets = targets.flatten()
    return outputs, targets.long()


def _counted(seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (N, classes) and targets (N,) of the targets that count; anything else as it is."""
    outputs, targets = _tensors(seen)
    if not _is_multiclass(seen):
        return outputs.float(), targets
    outputs, targets = outputs.flatten(0, -2).float(), targets.flatten()
    if seen.ignore_index is None:
        return outputs, targets
    kept = targets != seen.ignore_index
    return outputs[kept], targets[kept]


def _give_numbers(seen: Seen, _options: Options) -> tuple[torch.Tensor, torch.Tensor]:
    outputs, targets = _tensors(seen)
    if outputs.dim() > 1 and outputs.shape[-1] == 1:
        outputs, targets = outputs.squeeze(-1), targets.reshape(outputs.shape[:-1])
    return outputs.float().contiguous(), targets.float().contiguous()


def _find_columns(seen: Seen, _args: Options) -> dict[str, Any]:
    outputs, _targets = _tensors(seen)
    return {"num_outputs": outputs.shape[-1]} if outputs.dim() == 2 and outputs.shape[-1] > 1 else {}


def _give_tokens(seen: Seen, _options: Options) -> tuple[torch.Tensor, torch.Tensor]:
    outputs, targets = _counted(seen)
    return outputs[None], targets[None]


def _give_texts(seen: Seen, options: Options) -> tuple[list[str], list[str]]:
    decode = options.get("decode", _words)
    outputs, targets = seen.outputs, seen.targets
    if not isinstance(outputs, torch.Tensor):
        return list(outputs), list(targets)
    if outputs.dim() == targets.dim() + 1:
        outputs = outputs.argmax(-1)
    kept = torch.ones_like(targets, dtype=torch.bool) if seen.ignore_index is None else targets != seen.ignore_index
    rows = zip(outputs, targets, kept, strict=True)
    pairs = [(decode(output[keep].tolist()), decode(target[keep].tolist())) for output, target, keep in rows]
    return [one for one, _ in pairs], [other for _, other in pairs]


def _give_references(seen: Seen, options: Options) -> tuple[list[str], list[list[str]]]:
    outputs, targets = _give_texts(seen, options)
    return outputs, [[it] if isinstance(it, str) else list(it) for it in targets]


def _words(tokens: list[int]) -> str:
    return " ".join(map(str, tokens))


def _give_boxes(seen: Seen, _options: Options) -> tuple[Any, Any]:
    if not (isinstance(seen.outputs, list) and all(isinstance(it, Mapping) for it in seen.outputs)):
        raise BuildError(
            "this metric wants boxes, scores and labels of each image, as the detection task gives", _WHERE
        )
    return [dict(it) for it in seen.outputs], [dict(it) for it in seen.targets]


def _give_own(seen: Seen, options: Options) -> tuple[Any, Any]:
    if isinstance(seen.outputs, torch.Tensor) and isinstance(seen.targets, torch.Tensor) and _is_multiclass(seen):
        return _give_classes(seen, options)
    return seen.outputs, seen.targets


def _find_own(seen: Seen, args: Options) -> dict[str, Any]:
    if isinstance(seen.outputs, torch.Tensor) and isinstance(seen.targets, torch.Tensor):
        found = {**_find_columns(seen, args), **_find_classes(seen, args)}
        return {name: it for name, it in found.items() if name != "task"}
    return {}


def _tensors(seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(seen.outputs, torch.Tensor) and isinstance(seen.targets, torch.Tensor):
        return seen.outputs, seen.targets
    raise BuildError(
        f"this metric compares tensors, but the task gave {type(seen.outputs).__name__} and {type(seen.targets).__name__}",
        _WHERE,
    )


def _nothing(_seen: Seen, _args: Options) -> dict[str, Any]:
    return {}


classes = Shape(_give_classes, _find_classes)
scores = Shape(_give_scores, _find_classes)
numbers = Shape(_give_numbers, _nothing)
columns = Shape(_give_numbers, _find_columns)
tokens = Shape(_give_tokens, _nothing)
texts = Shape(_give_texts, _nothing, "decode")
references = Shape(_give_references, _nothing, "decode")
boxes = Shape(_give_boxes, _nothing)
own = Shape(_give_own, _find_own)
