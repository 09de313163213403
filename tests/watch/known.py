"""Every series that there is, and the names that a query asks for."""

from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml

from ktrain_controller import series
from ktrain_launcher.metrics import TABLE

FILES: Final = Path(__file__).parents[2] / "deploy" / "helm" / "ktrain" / "files"
RULES: Final[dict[str, Any]] = yaml.safe_load((FILES / "rules.yaml").read_text(encoding="utf-8"))

FOREIGN: Final = {"DCGM_FI_PROF_GR_ENGINE_ACTIVE": "of DCGM's exporter, which a cluster with GPUs has beside us"}

_PARTS: Final = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


def exported() -> set[str]:
    """By the code, as Prometheus stores them."""
    rows = [*((it.name, it.kind) for it in TABLE), *((it.name, it.kind) for it in (*series.OWN, *series.OF_JOBS))]
    return {f"{name}{part}" for name, kind in rows for part in _PARTS.get(kind, ("",))}


def rules(kind: str) -> list[dict[str, Any]]:
    """All that have this key: alert or record."""
    return [rule for group in RULES["groups"] for rule in group["rules"] if kind in rule]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules("record")}


def asked(query: str) -> set[str]:
    """Names of the series that it selects."""
    found: list[str | None] = []

    def look(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node.name)
        return True

    promql_parser.walk(promql_parser.parse(query), look)
    assert all(found), f"{query} selects series without a name"
    return {name for name in found if name}


def filled(query: str) -> str:
    """With a value for each of a dashboard's variables."""
    values = {
        "$__rate_interval": "15s", "$__range": "5m", "$namespace": "ml", "$ktrain_job": "gpt", "$price": "2",
    }  # fmt: skip
    for name, value in values.items():
        query = query.replace(name, value)
    return query
