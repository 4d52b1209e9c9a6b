# OpenRiNALMo. `make` or `make help` lists what there is; every variable below may be set by you.

PYTHON ?= python3
VENV ?= .venv
FASTA ?=
METADATA ?=
TEMPERATURE ?=
CAPS ?=
GPU ?= h100
PRICE ?=
PARTS ?=
ENGINE ?= local
ADDRESS ?=
DATA_SETTINGS ?=
SOURCES ?=
FETCHED ?= runs/sources
EXCLUDE ?=
EXCLUDE_FAMILY ?=
BENCHMARKS ?=
AUDIT_OUT ?= $(CORPUS)/audit
AUDIT_SETTINGS ?=
WHAT ?= report
CORPUS ?= runs/data
PRESET ?= tiny
RUN ?= runs/$(PRESET)
RANKS ?= $(shell nvidia-smi -L 2>/dev/null | grep -c GPU | sed 's/^0$$/2/')
SETTINGS ?=
CHECKPOINT ?= $(RUN)
DATA ?=
EVAL_PRESET ?= $(if $(DATA),budget,quick)
EVAL_OUT ?= $(if $(wildcard $(CHECKPOINT)/.),$(CHECKPOINT:/=),$(basename $(CHECKPOINT)))/scorecard$(if $(DATA),-$(notdir $(DATA:/=)))
TASKS ?= families
EVERY ?= 60
A ?=
B ?=
EVAL_SETTINGS ?=
TESTS ?= tests
QUICKSTART ?= runs/quickstart

# `deepspeed pipeline/pretrain.py` would put pipeline/ itself on the import path.
export PYTHONSAFEPATH := 1
export DEEPSPEED_LOG_LEVEL ?= warning
export PATH := $(abspath $(VENV))/bin:$(PATH)
BIN := $(VENV)/bin
expand = $(foreach pattern,$1,$(or $(wildcard $(pattern)),$(pattern)))
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install quickstart data audit look verify pretrain plan checkpoints eval-families compare watch test test-gpu lint format types layers \
	check doctor bench bench-gpu wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make data FASTA='a.fa.gz b.fa' CORPUS=runs/mine        your own sequences; SOURCES='rnacentral rfam' fetches,"
	@echo "                                                         TEMPERATURE=, CAPS= weight RNA types, EXCLUDE=, EXCLUDE_FAMILY= leave out,"
	@echo "                                                         ENGINE=ray ADDRESS=auto goes past one machine"
	@echo "  make pretrain PRESET=nano CORPUS=runs/mine RANKS=8     SETTINGS='steps=1000 optim.peak_lr=1e-4'"
	@echo "  make eval-families CHECKPOINT=runs/nano TASKS=all DATA=folder    default: families of the sample; docs/downstream.md has the tasks"
	@echo "  make compare A=runs/a/scorecard B=runs/b/scorecard     two checkpoints; make watch RUN=runs/nano TASKS=families,embeddings"

install: $(INSTALLED) ## create .venv with the pinned versions; needs no root

# DeepSpeed's setup.py imports a module from its own folder, which PYTHONSAFEPATH hides.
$(INSTALLED): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt torch setuptools wheel
	env -u PYTHONSAFEPATH DS_BUILD_OPS=0 $(BIN)/pip install --quiet --constraint .ci/constraints.txt --no-build-isolation deepspeed
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --no-build-isolation --editable '.[dev,baselines]'
	@mkdir -p .typing/openrinalmo
	@for folder in data_prep ds_configs kernels model pipeline; do \
		ln -sfn ../../$$folder .typing/openrinalmo/$$folder; done
	@touch $@

quickstart: install ## the main job end to end on the embedded sample, on two CPU cores
	@$(MAKE) --no-print-directory data CORPUS=$(QUICKSTART)/data FASTA= METADATA=
	@$(MAKE) --no-print-directory pretrain PRESET=tiny CORPUS=$(QUICKSTART)/data RUN=$(QUICKSTART)/tiny RANKS=2
	@$(MAKE) --no-print-directory eval-families CHECKPOINT=$(QUICKSTART)/tiny DATA= \
		EVAL_PRESET=quick EVAL_OUT=$(QUICKSTART)/scorecard TASKS=families
	@$(BIN)/python pipeline/show_run.py $(QUICKSTART)/tiny --data $(QUICKSTART)/data
	@echo "  scores           $(QUICKSTART)/scorecard/scorecard.html"

data: install ## FASTA or SOURCES (default: the embedded sample) to clusters to shards in CORPUS
	@$(if $(SOURCES),$(BIN)/python data_prep/fetch.py $(SOURCES) --out $(FETCHED))
	$(BIN)/python data_prep/prepare.py $(FASTA) $(if $(SOURCES),--fetched $(FETCHED)) --out $(CORPUS) $(if $(METADATA),--metadata $(METADATA)) \
		$(if $(TEMPERATURE),--type-temperature $(TEMPERATURE)) $(if $(CAPS),--type-caps "$(CAPS)") \
		$(foreach file,$(call expand,$(EXCLUDE)),--exclude $(file)) $(foreach family,$(EXCLUDE_FAMILY),--exclude-family '$(family)') \
		--engine $(ENGINE) $(if $(ADDRESS),--address $(ADDRESS)) $(DATA_SETTINGS)

audit: install ## what BENCHMARKS (files or folders) share with CORPUS, into AUDIT_OUT
	$(BIN)/python data_prep/audit.py $(CORPUS) --benchmarks $(BENCHMARKS) --out $(AUDIT_OUT) $(AUDIT_SETTINGS)

look: install ## WHAT='record ID', 'cluster 5' or its name, 'shard FILE', 'type tRNA' or 'report' of CORPUS
	$(BIN)/python data_prep/look.py $(CORPUS) $(WHAT)

verify: install ## hash every file of CORPUS again and check what it says
	$(BIN)/python data_prep/look.py $(CORPUS) verify

pretrain: install ## pretrain PRESET on CORPUS into RUN with ZeRO-3 on RANKS ranks; resumes by itself
	$(BIN)/deepspeed --log_level warning --num_accelerators $(RANKS) pipeline/pretrain.py --preset $(PRESET) --resume \
		data=$(CORPUS) out=$(RUN) $(SETTINGS)

plan: install ## memory, speed and time of PRESET on RANKS x GPU, and cost at PRICE a GPU-hour; runs nothing
	$(BIN)/python pipeline/plan.py --preset $(PRESET) --gpu $(GPU) --ranks $(RANKS) \
		$(if $(PRICE),--price-per-gpu-hour $(PRICE)) data=$(CORPUS) $(SETTINGS)

checkpoints: install ## the checkpoints of RUN: which are whole, and what is damaged
	$(BIN)/python pipeline/checkpoint.py list $(RUN)
	$(BIN)/python pipeline/checkpoint.py verify $(RUN)

eval-families: install ## judge CHECKPOINT on TASKS (default: held-out families; `all`) with the sample, or with benchmarks in DATA
	$(BIN)/python pipeline/eval_families.py --checkpoint $(CHECKPOINT) --tasks $(TASKS) $(if $(DATA),--data $(DATA)) \
		--preset $(EVAL_PRESET) --out $(EVAL_OUT) $(EVAL_SETTINGS)

compare: install ## two scorecards side by side: A=folder B=folder, into B/compare.html
	$(BIN)/python pipeline/compare.py $(A) $(B)

watch: install ## evaluate checkpoints of RUN on TASKS as they appear, into RUN/watch and TensorBoard
	$(BIN)/python pipeline/watch.py $(RUN) --tasks $(TASKS) --every $(EVERY) $(if $(DATA),--data $(DATA))

test: install ## every test that needs no GPU
	$(BIN)/python -m pytest -m "not gpu and not exhaustive" $(TESTS)
	@echo "the kernels again, in Triton's interpreter"
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -m "not gpu" tests/kernels

test-gpu: install ## the tests that need a GPU
	$(BIN)/python -m pytest -m gpu $(TESTS)

lint: install ## check style; edits nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install ## pyright over the whole tree
	$(BIN)/pyright

layers: install ## who may import whom
	$(BIN)/lint-imports

check: lint types layers test ## style, types, layers and tests; .ci/run adds the wheel

doctor: install ## what is installed, and which implementation of every op runs here, and why
	$(BIN)/python pipeline/doctor.py

bench: install ## append rows to benchmarks/results.csv
	@for bench in benchmarks/bench_*.py; do echo "$$bench"; \
		PYTHONPATH=benchmarks $(BIN)/python $$bench || exit 1; done

bench-gpu: install ## GPU tests and every GPU benchmark, under ten minutes; PARTS='step stages' for some
	PYTHON=$(BIN)/python benchmarks/run_gpu.sh $(PARTS)

wheel: install ## build the wheel into dist/
	rm -rf dist build
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

clean: ## delete the environment, builds and caches; runs/ stays
	rm -rf $(VENV) .typing build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
