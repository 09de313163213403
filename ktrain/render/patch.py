"""Kubernetes' strategic merge, for podPatch: mappings merge, known lists merge by key, everything else is replaced.

null removes a key; `$patch: delete` in a list's item removes the item of that name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

# https://kubernetes.io/docs/reference/generated/kubernetes-api, "patch merge key" of the pod's fields
_MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
_DIRECTIVE: Final = "$patch"


def strategic_merge(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A new object: the target with the patch applied."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(key, merged.get(key), value)
    return merged


def _merge(key: str, target: Any, patch: Any) -> Any:
    if isinstance(patch, Mapping):
        return strategic_merge(target if isinstance(target, Mapping) else {}, patch)
    by = _MERGE_KEYS.get(key)
    if by and _is_list(target) and _is_list(patch) and all(isinstance(item, Mapping) and by in item for item in patch):
        return _merge_list(target, patch, by)
    return patch


def _merge_list(target: Sequence[Mapping[str, Any]], patch: Sequence[Mapping[str, Any]], by: str) -> list[Any]:
    items = {item.get(by, index): item for index, item in enumerate(target)}
    for change in patch:
        name = change[by]
        if change.get(_DIRECTIVE) == "delete":
            items.pop(name, None)
        else:
            items[name] = strategic_merge(items.get(name, {}), change)
    return list(items.values())


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
