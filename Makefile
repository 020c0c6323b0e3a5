# Millrace: `make help` lists what can be done. `make check` answers "did I break anything?" with one word.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= python3
# Where each kind of build lives. One folder a set of flags, so that no command undoes another's work.
BUILD := .build
STATIC := .build/static
# `make lint` turns warnings into errors, which is another set of flags; CI sets LINT_BUILD=.build because it builds
# everything that way to begin with.
LINT_BUILD ?= .build/lint

TOOLS := tok-shard tok-pack train-step ckpt-tool metrics-cat
VENV := .venv
SCRIPTS := $(wildcard .ci/run .ci/setup pipelines/*.sh pipelines/*/*.sh Tests/*/*.sh Benchmarks/*.sh docs/*.sh docs/*/*.sh)

.PHONY: help setup build test demo bench scale train lint format faults longrun fuzz long neon ingest interop expansion optimizers tokenizers foreign dashboards parity check reference man install uninstall clean

help: ## Print this list
	@echo 'Millrace. Targets:'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'First steps: `make demo` trains a small model in five minutes, `make test` runs the tests.'

setup: ## Install the system packages that are missing (nothing, and no network, when all are there)
	@.ci/setup

build: setup ## Build the five tools in release mode into .build/release
	swift build -c release

test: setup ## Run the tests
	swift test -c release
	$(PYTHON) pipelines/grammar.py --check > /dev/null

demo: build ## Train a small model on a corpus of known entropy; about five minutes (OUT=out/demo)
	@pipelines/demo.sh

bench: build $(VENV)/ready $(VENV)/tokenizers $(VENV)/bench ## Print speeds beside rivals and the machine's own limits; 40 minutes (STEPS=--bf16: bf16 too)
	@.ci/setup --bench || echo 'bench: goes on without what is missing; its columns say "not run"'
	Benchmarks/kernels.sh
	$(VENV)/bin/python Benchmarks/steps.py $(STEPS)
	$(VENV)/bin/python Benchmarks/scaling.py
	Benchmarks/tools.sh
	PATH="$(CURDIR)/$(BUILD)/release:$$PATH" $(VENV)/bin/python Benchmarks/tokenization.py
	$(VENV)/bin/python Benchmarks/packing.py
	$(VENV)/bin/python Benchmarks/scale.py
	$(VENV)/bin/python Benchmarks/metrics.py
	$(VENV)/bin/python Benchmarks/norms.py

scale: build ## Merge, open and seek a dataset of 100,000 shards and 1 T tokens that takes no disk; two minutes
	$(PYTHON) Benchmarks/scale.py

train: build ## CORPUS=text RUN=dir MODEL=config.json: from text to a trained model (see pipelines/train.mk)
	@$(MAKE) --no-print-directory -f pipelines/train.mk

lint: setup ## Check format, imports, warnings and scripts
	swift format lint --strict --recursive --parallel Package.swift Sources Tests Examples
	MILLRACE_WERROR=1 swift build -c release --scratch-path $(LINT_BUILD) \
	    --explicit-target-dependency-import-check error
	for script in $(SCRIPTS); do bash -n "$$script"; done
	if command -v shellcheck > /dev/null; then shellcheck $(SCRIPTS); fi
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]' \
	    $$(git ls-files '*.py')

format: ## Rewrite the Swift sources in the project's format
	swift format --in-place --recursive --parallel Package.swift Sources Tests Examples

faults: build ## Kill, starve, damage and unplug runs a few thousand times; under ten minutes (FAULTS=--quick: two)
	$(PYTHON) Tests/faults $(FAULTS)

longrun: build ## 5,000 steps with a fault every 250, and without: the same bytes, memory and work flat (OUT=out/longrun)
	$(PYTHON) Tests/faults/long_run.py --output "$(or $(OUT),out/longrun)" $(LONGRUN)

fuzz: setup ## Feed the parsers of foreign files with libFuzzer and the address sanitizer (FUZZ_SECONDS=60 each)
	Tests/fuzz/run.sh

long: setup ## The tool tests with every moment and every length instead of a sample; half an hour
	MILLRACE_LONG=1 swift test -c release --filter ToolTests

neon: ## Hold the arm64 kernels against this machine's, under qemu
	@.ci/setup --neon
	Tests/neon/run.sh

ingest: build ## Try pipelines/ingest: GNU parallel, and Slurm and Ray where they are there
	@.ci/setup --ingest
	pipelines/ingest/check.sh

interop: build $(VENV)/interop ## Compare checkpoints, logits and conversions with safetensors, transformers, gguf, NumPy (PyPI)
	PATH="$(CURDIR)/$(VENV)/bin:$(CURDIR)/$(BUILD)/release:$$PATH" Tests/python/interop.sh

expansion: build $(VENV)/ready ## Make models larger and compare their logits with transformers' (PyPI); three minutes
	PATH="$(CURDIR)/$(VENV)/bin:$(CURDIR)/$(BUILD)/release:$$PATH" Tests/python/expansion.sh

optimizers: build $(VENV)/ready ## Compare updates of every optimizer, and adapters, with float64 references and PyTorch
	PATH="$(CURDIR)/$(VENV)/bin:$(CURDIR)/$(BUILD)/release:$$PATH" python3 Tests/python/check_optimizers.py
	PATH="$(CURDIR)/$(VENV)/bin:$(CURDIR)/$(BUILD)/release:$$PATH" python3 Tests/python/check_lora.py

tokenizers: build $(VENV)/tokenizers ## Compare ids with tiktoken and tokenizers on over 100 MB of text (QUICK=--quick: 4 MB)
	PATH="$(CURDIR)/$(VENV)/bin:$(CURDIR)/$(BUILD)/release:$$PATH" python3 Tests/python/check_tokenizers.py $(QUICK)

foreign: build $(VENV)/foreign ## Compare token files with MosaicML streaming, datatrove and NumPy, both ways (FOREIGN=--quick)
	PATH="$(CURDIR)/$(BUILD)/release:$$PATH" $(VENV)/bin/python Tests/python/check_foreign.py $(FOREIGN)

dashboards: build $(VENV)/dashboards ## Try what metrics-cat writes with TensorBoard, Prometheus, Vega-Lite and Chromium; two minutes
	@.ci/setup --dashboards
	PATH="$(CURDIR)/$(BUILD)/release:$$PATH" $(VENV)/bin/python Tests/python/check_metrics.py
	PATH="$(CURDIR)/$(BUILD)/release:$$PATH" docs/dashboards/try.sh

parity: build $(VENV)/ready ## Compare losses, gradients and updates with NumPy, JAX and PyTorch (OUT=out/parity)
	PATH="$(CURDIR)/$(VENV)/bin:$(CURDIR)/$(BUILD)/release:$$PATH" \
	    python3 -m parity --output "$(or $(OUT),out/parity)" $(PARITY)
	PATH="$(CURDIR)/$(VENV)/bin:$(CURDIR)/$(BUILD)/release:$$PATH" python3 -m parity.real_use

$(VENV)/ready: parity/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement $<
	touch $@

$(VENV)/interop: Tests/python/interop-requirements.txt $(VENV)/ready
	$(VENV)/bin/pip install --quiet --requirement $<
	touch $@

$(VENV)/tokenizers: Tests/python/requirements.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement $<
	touch $@

$(VENV)/dashboards: Tests/python/dashboards-requirements.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement $<
	touch $@

$(VENV)/bench: Benchmarks/requirements.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement $<
	touch $@

# Without what they depend on: only their file formats are used.
$(VENV)/foreign: Tests/python/foreign-requirements.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -c 'import numpy' 2> /dev/null || \
	    $(VENV)/bin/pip install --quiet "$$(grep '^numpy==' parity/requirements.txt)"
	$(VENV)/bin/pip install --quiet --no-deps --requirement $<
	touch $@

check: ## What CI runs
	@.ci/run

reference: build ## The library's reference as a site of pages, made by DocC from the docstrings, to out/reference (OUT=)
	docs/reference.sh "$(or $(OUT),out/reference)"

man: build ## Write the manual pages, made from each tool's own --help, to .build/man
	$(PYTHON) docs/manual.py --bin $(BUILD)/release --output $(BUILD)/man $(TOOLS)

# The static build links Swift's library, zstd and zlib in, so that the tools run where none is installed: the linker
# takes libzstd.a and libz.a because it meets a folder that has only those before the system's.
install: setup ## Install static, stripped tools and their manual pages (PREFIX=/usr/local, DESTDIR=)
	mkdir -p $(STATIC)/lib
	for name in zstd z; do ln -sf "$$(.ci/setup --static $$name)" $(STATIC)/lib/lib$$name.a || exit; done
	swift build -c release --static-swift-stdlib --scratch-path $(STATIC) -Xlinker -L$(CURDIR)/$(STATIC)/lib
	if command -v ldd > /dev/null && ldd $(STATIC)/release/ckpt-tool | grep -E 'libzstd|libz[.]'; then \
	    echo 'install: the tools would need these libraries where they run' >&2; exit 1; fi
	$(PYTHON) docs/manual.py --bin $(STATIC)/release --output $(STATIC)/man $(TOOLS)
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/man/man1"
	for tool in $(TOOLS); do \
	    install -s -m 755 $(STATIC)/release/$$tool "$(DESTDIR)$(PREFIX)/bin/"; \
	    install -m 644 $(STATIC)/man/$$tool.1 "$(DESTDIR)$(PREFIX)/share/man/man1/"; \
	done

uninstall: ## Remove what `make install` put there
	for tool in $(TOOLS); do \
	    rm -f "$(DESTDIR)$(PREFIX)/bin/$$tool" "$(DESTDIR)$(PREFIX)/share/man/man1/$$tool.1"; \
	done

clean: ## Remove builds and the demonstration's output
	rm -rf $(BUILD) $(VENV) out
