# From a bare machine (CPython 3.11+, pip, make): `make quickstart` trains, `make test` tests. Each prepares `.venv` first.
#
# constraints.txt pins versions; on Linux without an NVIDIA GPU, constraints-cpu.txt also asks for the CPU build of torch.
# Where pip's index does not have that build, set PIP_EXTRA_INDEX_URL to one that does. `make env CONSTRAINTS=` takes the
# ranges of pyproject.toml instead.

PYTHON ?= python3
CPU_ONLY := $(if $(filter Linux,$(shell uname -s)),$(if $(shell command -v nvidia-smi),,constraints-cpu.txt))
CONSTRAINTS ?= constraints.txt $(CPU_ONLY)
BIN := .venv/bin
STAMP := .venv/.stamp
SMOKE := build/smoke

# Nothing here needs a model hub, so nothing here asks one.
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help env quickstart test lint smoke

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

env: $(STAMP) ## prepare .venv; quick where it is ready
	@$(BIN)/python -c "import torch; print('torch', torch.__version__, '(CUDA build)' if torch.version.cuda else '(CPU build)')"

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c "import sys; sys.exit(None if sys.version_info >= (3, 11) else 'Python 3.11 or newer is needed: make PYTHON=...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(addprefix -c ,$(CONSTRAINTS)) -e '.[dev]'
	@touch $@

quickstart: env ## fetch the embedded model, train it, evaluate before and after; resumes where it was stopped
	$(BIN)/fission-grpo model fetch
	$(BIN)/fission-grpo train configs/quickstart.yaml

test: env ## the whole test suite
	$(BIN)/python -m pytest

lint: env ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

smoke: env ## one standard and one fission update of the embedded model, in a fresh run folder
	$(BIN)/fission-grpo model fetch
	rm -rf $(SMOKE)
	$(BIN)/fission-grpo train configs/smoke.yaml
	@$(BIN)/python -c "import json; done = json.load(open('$(SMOKE)/summary.json')); \
	assert (done['updates_standard'], done['updates_fission']) == (1, 1), done; \
	print('smoke: 1 standard and 1 fission update')"
