"""Why Kueue does not let a job run, in Kueue's own words. Pure."""

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def admission(document: Object) -> str:
    """Of its Workload: one clause, empty when it is admitted, or inactive and nobody says why."""
    status = document.get("status") or {}
    held: Mapping[str, Object] = {it["type"]: it for it in status.get("conditions") or ()}
    if not document["spec"].get("active", True):
        return _message(held["Evicted"]) if _is_true(held, "Evicted") else ""
    if _is_true(held, "Admitted"):
        return ""
    if _is_true(held, "QuotaReserved"):
        return _unchecked(status)
    return _message(held["QuotaReserved"]) if "QuotaReserved" in held else "Kueue has not looked at it yet"


def _unchecked(status: Object) -> str:
    """It has its quota: something else that the ClusterQueue wants is missing."""
    queue = (status.get("admission") or {}).get("clusterQueue", "")
    waiting = [it for it in status.get("admissionChecks") or () if it.get("state") != "Ready"]
    told = ", ".join(f"{it['name']} is {it['state']}{_clause(it)}" for it in waiting)
    return f"its quota{f' in {queue}' if queue else ''} is reserved, admission check {told or 'is not ready'}"


def _clause(check: Object) -> str:
    return f" ({_message(check)})" if check.get("message") else ""


def _is_true(held: Mapping[str, Object], name: str) -> bool:
    return name in held and held[name].get("status") == "True"


def _message(of: Object) -> str:
    return " ".join(str(of.get("message") or of.get("reason") or "").split())
