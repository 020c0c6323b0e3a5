# From a text to a trained model, as files that depend on each other, so that a second make redoes only what changed and
# an interrupted one goes on from the last checkpoint.
#
#   make train CORPUS=book.txt RUN=runs/book MODEL=pipelines/models/prose.json [STEPS=2000] [SPLIT='']
#
#   CORPUS ─▶ RUN.data/{train,validation} ─▶ RUN.data/validation.batches ─┐
#   MODEL  ─▶ RUN.initial/ (step 0) ──────────────────────────────────────┴▶ RUN/step-STEPS ─▶ RUN/loss.svg, RUN/report.txt
#
# Needs    the five tools (make build); a corpus of text or JSON Lines; a Hugging Face config.json.
# Takes    what STEPS x ROWS x LENGTH tokens take; train-step says how many it does a second.
# Expect   the loss in RUN/report.txt, in nats a token. It depends on the text.
#
# A new corpus or model makes a new run; the old one is kept beside it as RUN.old-1, -2, … More STEPS continue the run.
# Make does not see a changed recipe (RATE, ROWS, …): give the new one another RUN.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: train
.DEFAULT_GOAL := train

ifeq ($(and $(CORPUS),$(RUN),$(MODEL)),)
$(error usage: make train CORPUS=text-or-jsonl RUN=directory MODEL=config.json [STEPS=… ROWS=… LENGTH=… RATE=… VALIDATION=…])
endif

STEPS ?= 1000
# The learning rate falls over this many steps; set it to the final count when a run is to be trained in parts.
SCHEDULE ?= $(STEPS)
ROWS ?= 8
LENGTH ?= 256
RATE ?= 2e-3
# 50 steps, or a tenth of a short run.
WARMUP ?= $(shell echo $$(($(SCHEDULE) < 500 ? $(SCHEDULE) / 10 : 50)))
SEED ?= 1
EVAL_EVERY ?= 100
SAVE_EVERY ?= 100
VALIDATION ?= 0.01
TOKENIZER ?= bytes
PROMPT ?= The
# A line that parts documents in a text (default: an empty one); JSON Lines carry one document a line.
SPLIT ?=

MILLRACE_BIN ?= $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/../.build/release)
export PATH := $(MILLRACE_BIN):$(PATH)

DATA := $(RUN).data
INITIAL := $(RUN).initial
DATASET := $(DATA)/train/dataset.json
HELD_OUT := $(DATA)/validation.batches
FIRST := $(INITIAL)/step-00000000/manifest.json
LAST := $(RUN)/step-$(shell printf '%08d' $(STEPS))/manifest.json

FORMAT := $(if $(filter %.jsonl,$(CORPUS)),--format jsonl,--format text --split-on '$(SPLIT)')
PACK := tok-pack --rows $(ROWS) --length $(LENGTH) --pack best-fit

# What a checkpoint or dataset is made of is published whole, so an interrupted make need not take it away.
.PRECIOUS: $(DATASET) $(FIRST) $(LAST)

train: $(RUN)/loss.svg $(RUN)/report.txt
	@cat $(RUN)/report.txt

# A dataset that stands is of an older corpus and goes; one that a killed make left unfinished is gone on with.
$(DATASET): $(CORPUS)
	@if [ -e $@ ]; then rm -rf $(DATA); fi
	@mkdir -p $(DATA)
	tok-shard --tokenizer $(TOKENIZER) $(FORMAT) --validation $(VALIDATION) --resume --output $(DATA) $(CORPUS)
	@for side in train validation; do \
	    if tok-shard info --json $(DATA)/$$side | grep -q '"documents":0,'; then \
	        echo "train.mk: no document of $(CORPUS) fell to $$side: set another VALIDATION= than $(VALIDATION)" >&2; \
	        rm -rf $(DATA); exit 65; \
	    fi; \
	done
	@touch $@

$(HELD_OUT): $(DATASET)
	$(PACK) --order sequential $(DATA)/validation > $@.tmp
	@mv $@.tmp $@

$(FIRST): $(MODEL)
	@rm -rf $(INITIAL)
	train-step --run $(INITIAL) --model $(MODEL) --seed $(SEED) --steps 0 < /dev/null

# Starts from the initial checkpoint or, where the run has a checkpoint, after its last batch. A resumed run keeps the
# recipe it began with.
$(LAST): $(FIRST) $(DATASET) $(HELD_OUT)
	@if [ -e $(RUN)/run.json ] && { [ $(RUN)/run.json -ot $(FIRST) ] || [ $(RUN)/run.json -ot $(DATASET) ]; }; then \
	    n=1; while [ -e $(RUN).old-$$n ]; do n=$$((n + 1)); done; \
	    echo "train.mk: the corpus or the model has changed; keeping the former run as $(RUN).old-$$n" >&2; \
	    mv $(RUN) $(RUN).old-$$n; \
	fi
	@cursor=() start=(--run $(RUN) --from $(INITIAL)/step-00000000 --seed $(SEED) --learning-rate $(RATE) \
	    --warmup $(WARMUP)); \
	if [ -e $(RUN)/latest ]; then \
	    start=(--resume $(RUN)); \
	    at=$$(ckpt-tool get $(RUN)/latest cursor); \
	    if [ -n "$$at" ] && [ "$$at" != null ]; then cursor=(--cursor "$$at"); fi; \
	fi; \
	set -x; \
	$(PACK) --seed $(SEED) --epochs 0 "$${cursor[@]}" $(DATA)/train | \
	    train-step "$${start[@]}" --steps $(STEPS) --schedule-steps $(SCHEDULE) --validation $(HELD_OUT) \
	        --eval-every $(EVAL_EVERY) --save-every $(SAVE_EVERY)
	@test -e $@

$(RUN)/loss.svg: $(LAST)
	metrics-cat --to svg --output $@ $(RUN)

$(RUN)/report.txt: $(LAST) $(HELD_OUT)
	@{ \
	    echo "run $(RUN), $(STEPS) steps, corpus $(CORPUS)"; \
	    echo; ckpt-tool evaluate $(RUN)/latest < $(HELD_OUT); \
	    echo; ckpt-tool sample $(RUN)/latest --prompt '$(PROMPT)' --seed $(SEED); \
	} > $@.tmp
	@mv $@.tmp $@
