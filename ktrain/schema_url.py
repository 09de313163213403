"""Where editors find the schema of job files."""

from typing import Final

URL: Final = "https://ktrain.dev/schema/v1/job.schema.json"
