# Every target sets up what it needs first: a machine with Python >= 3.11 and make is enough.
SHELL := /bin/sh
BIN := .venv/bin
PYTEST := $(BIN)/pytest
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup tools run test test-fast lint format bench docs schema dashboards transcript chart clean \
  cluster-setup cluster-up cluster-down cluster-shell cluster-status
NODES ?= 2

help:  ## Print this help.
	@awk -F ':.*## ' '/^[a-zA-Z_%-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

setup:  ## Install uv into .tools/ and the locked packages into .venv (done by the other targets too).
	@./hack/setup.sh

run: setup  ## Train the Shakespeare model with two ranks (about 3 minutes) and print what it writes.
	@$(BIN)/ktrain run examples/shakespeare/job.yaml
	@$(BIN)/python examples/shakespeare/sample.py

tools: setup
	@# What is missing is said, and tests that need it are skipped, which CI counts as a failure.
	@./hack/cluster/setup.sh || true

test: lint tools  ## Lint, then every test; those on a real cluster last (Linux, root and Go; the first time 12 minutes more).
	@# Scanners of the chart; without Go some of them are missing, which is said.
	@$(BIN)/python -m hack.chart || true
	$(PYTEST) -n auto --maxprocesses 8 --dist worksteal --ignore tests/cluster
	@$(BIN)/python -m hack.cluster images || true
	@# Tests that take a part of the cluster away run by themselves, after all others.
	KTRAIN_KEEP_CLUSTER=1 $(PYTEST) tests/cluster -n 3 --dist loadfile -m "not alone" --timeout 900 || { $(BIN)/python -m hack.cluster down; exit 1; }
	$(PYTEST) tests/cluster -m alone --timeout 900

test-fast: tools  ## The tests that take less than three minutes together.
	$(PYTEST) -n auto --maxprocesses 8 -m "not slow"

lint: setup  ## Format, ruff, mypy strict, import contracts.
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Format and mend what ruff can mend.
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup  ## Every benchmark; results go to benchmarks/results/. QUICK=1 for a minute each.
	@.tools/uv/bin/uv sync --frozen --quiet --inexact --group bench
	@for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file $(if $(QUICK),--quick) || exit 1; done

bench-%: setup  ## One benchmark: make bench-cli_start.
	@.tools/uv/bin/uv sync --frozen --quiet --inexact --group bench
	@$(BIN)/python benchmarks/$*.py $(if $(QUICK),--quick)

docs: setup  ## Build the documentation into site/.
	@.tools/uv/bin/uv sync --frozen --quiet --inexact --group docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

schema: setup  ## Write what is made from the code anew: the JSON Schema, the reference pages, the chart's README.
	$(BIN)/ktrain schema > schema/job.schema.json
	$(BIN)/python -m ktrain.reference docs
	$(BIN)/python -m ktrain_launcher.reference > docs/metrics.md
	$(BIN)/python -m hack.chart.readme
	$(BIN)/python -m ktrain_controller.reference > docs/controller-metrics.md

dashboards: setup  ## Write the Grafana dashboards anew: deploy/helm/ktrain/files/dashboards.
	$(BIN)/python -m hack.dashboards

transcript: setup  ## Run the README's tour anew and write its transcript into the README.
	$(BIN)/python hack/transcript.py

chart: setup  ## Lint the Helm chart and package it into dist/: DIGEST=sha256:… REPOSITORY=registry.example/ktrain-controller.
	$(BIN)/helm lint --strict --quiet deploy/helm/ktrain
	@$(BIN)/python -m hack.chart.package $(if $(DIGEST),--digest $(DIGEST)) $(if $(REPOSITORY),--repository $(REPOSITORY))

cluster-setup: setup  ## Debian packages that the test cluster needs (root; says what is missing elsewhere).
	@./hack/cluster/setup.sh

cluster-up: cluster-setup  ## A real Kubernetes cluster on this machine, with operator, S3 and Prometheus: NODES=2.
	@$(BIN)/python -m hack.cluster up --nodes $(NODES)

cluster-down: setup  ## End it, and leave nothing behind.
	@$(BIN)/python -m hack.cluster down

cluster-shell: setup  ## A shell in its network, where kubectl and ktrain reach it.
	@$(BIN)/python -m hack.cluster shell

cluster-status: setup  ## Its nodes and pods.
	@$(BIN)/python -m hack.cluster status

clean:  ## Remove what make made.
	rm -rf .venv .tools site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
