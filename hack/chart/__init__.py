"""The Helm chart's tools: rendering, checking, packaging."""
