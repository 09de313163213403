"""What is valid in a job file but will hurt; each finding has a code that is explained."""

from ktrain.lint.rules import RULES, Finding, Rule, lint

__all__ = ["RULES", "Finding", "Rule", "lint"]
