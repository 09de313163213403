"""The JSON Schema of job files, for editors: draft 7, which yaml-language-server understands."""

import json
from typing import Any

from ktrain.schema_url import URL
from ktrain.spec import TrainingJob


def schema() -> dict[str, Any]:
    """Of TrainingJob; pydantic speaks 2020-12, so what draft 7 spells otherwise is respelled."""
    found = _draft_7(TrainingJob.model_json_schema(by_alias=True))
    return {"$schema": "http://json-schema.org/draft-07/schema#", "$id": URL, **found}


def text() -> str:
    """As it is committed in schema/job.schema.json."""
    return json.dumps(schema(), indent=1) + "\n"


def _draft_7(value: Any) -> Any:
    if isinstance(value, list):
        return [_draft_7(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {("definitions" if key == "$defs" else key): _draft_7(inner) for key, inner in value.items()}
    if isinstance(reference := value.get("$ref"), str):
        # Beside $ref draft 7 ignores every other key, so the description would be lost.
        rest = {key: inner for key, inner in value.items() if key != "$ref"}
        pointer = {"$ref": reference.replace("#/$defs/", "#/definitions/")}
        return {"allOf": [pointer], **rest} if rest else pointer
    if "prefixItems" in value:
        value["items"] = value.pop("prefixItems")
    return value
