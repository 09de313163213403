"""What a panel is: a title, a description, a unit and queries; and how Grafana writes it down."""

from dataclasses import dataclass
from typing import Any, Final, Literal

Object = dict[str, Any]
Kind = Literal["timeseries", "stat", "bargauge", "state-timeline"]
DATASOURCE: Final[Object] = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One of a panel's; `legend` names what it draws, with {{label}}."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Everything that differs between two of them."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8  # of 24
    height: int = 8
    is_stacked: bool = False
    warn_at: float | None = None  # from there on it is drawn in red
    maximum: float | None = None

    def render(self, number: int, x: int, y: int) -> Object:
        """As Grafana keeps it."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(place, query) for place, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._field(), "overrides": []},
            "options": _OPTIONS[self.kind],
        }

    def _target(self, place: int, query: Query) -> Object:
        is_instant = self.kind in {"stat", "bargauge"}
        return {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "expr": query.expr,
            "legendFormat": query.legend or "__auto",
            "instant": is_instant,
            "range": not is_instant,
        }

    def _field(self) -> Object:
        steps: list[Object] = [{"color": "green", "value": None}]
        if self.warn_at is not None:
            steps.append({"color": "red", "value": self.warn_at})
        field: Object = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.maximum is not None:
            field |= {"min": 0, "max": self.maximum}
        if self.kind == "timeseries":
            field["custom"] = _lines(is_stacked=self.is_stacked, has_limit=self.warn_at is not None)
        return field


def _lines(*, is_stacked: bool, has_limit: bool) -> Object:
    return {
        "drawStyle": "line",
        "fillOpacity": 40 if is_stacked else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,  # a gap is what nobody knows
        "stacking": {"group": "A", "mode": "normal" if is_stacked else "none"},
        "thresholdsStyle": {"mode": "line" if has_limit else "off"},
    }


_REDUCED: Final[Object] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[dict[Kind, Object]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"colorMode": "value", "graphMode": "none", "reduceOptions": _REDUCED, "textMode": "auto"},
    "bargauge": {"displayMode": "basic", "orientation": "horizontal", "reduceOptions": _REDUCED},
    "state-timeline": {"mergeValues": True, "showValue": "never", "rowHeight": 0.8},
}
