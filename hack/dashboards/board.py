"""What a dashboard is: variables, annotations, and rows of panels that find their places by themselves."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from hack.dashboards.panels import DATASOURCE, Panel

Object = dict[str, Any]
SCHEMA: Final = 42  # of Grafana 12; a newer one migrates it as it opens
COLUMNS: Final = 24
RUNBOOKS: Final = "https://ktrain.dev/docs/runbooks.md"


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable whose values are those of a label."""

    name: str
    label: str
    metric: str
    is_many: bool = False

    def render(self) -> Object:
        """As Grafana keeps it."""
        query = f"label_values({self.metric}, {self.name})"
        many: Object = {"includeAll": True, "multi": True, "allValue": ".*"} if self.is_many else {}
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": DATASOURCE,
            "query": query,
            "definition": query,
            "refresh": 2,  # with the time range: jobs come and go
            "sort": 1,
            "regex": "",
            "current": {"text": "All", "value": "$__all"} if self.is_many else {},
            "includeAll": False,
            "multi": False,
            **many,
        }


@dataclass(frozen=True, slots=True)
class Text:
    """A variable that is typed in."""

    name: str
    label: str
    value: str

    def render(self) -> Object:
        """As Grafana keeps it."""
        now = {"text": self.value, "value": self.value}
        return {
            "type": "textbox", "name": self.name, "label": self.label, "query": self.value, "current": now, "options": [now],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line through all panels, where its query has a value."""

    name: str
    expr: str
    title: str
    color: str

    def render(self) -> Object:
        """As Grafana keeps it."""
        return {
            "name": self.name, "datasource": DATASOURCE, "enable": True, "expr": self.expr, "iconColor": self.color,
            "step": "60s", "titleFormat": self.title, "textFormat": "", "tagKeys": "",
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below a title."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `name` is its file, and its uid, which links keep."""

    name: str
    title: str
    description: str
    variables: tuple[Choice | Text, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them."""
        return tuple(panel for row in self.rows for panel in row.panels)

    def render(self) -> str:
        """The file."""
        document = {
            "uid": f"ktrain-{self.name}", "title": f"ktrain / {self.title}", "description": self.description,
            "tags": ["ktrain"], "editable": False, "schemaVersion": SCHEMA, "version": 1, "graphTooltip": 1,
            "timezone": "", "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "links": _links(),
            "annotations": {"list": [it.render() for it in self.annotations]},
            "templating": {"list": [_datasource(), *(it.render() for it in self.variables)]},
            "panels": list(_placed(self.rows)),
        }  # fmt: skip
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _datasource() -> Object:
    return {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1,
            "regex": "", "current": {}, "hide": 0, "includeAll": False, "multi": False}  # fmt: skip


def _links() -> list[Object]:
    boards = {
        "type": "dashboards",
        "title": "ktrain",
        "tags": ["ktrain"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }
    return [boards, {"type": "link", "title": "Runbooks", "url": RUNBOOKS, "targetBlank": True, "icon": "doc"}]


def _placed(rows: tuple[Row, ...]) -> Iterator[Object]:
    """From left to right, and into the next line where the width is used up."""
    y, number = 0, 1
    for row in rows:
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}}  # fmt: skip
        x, y, number, height = 0, y + 1, number + 1, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            yield panel.render(number, x, y)
            x, number, height = x + panel.width, number + 1, max(height, panel.height)
        y += height
