# fedfraud: `make demo` runs the whole network, `make test` checks it, `make help` lists the rest.
SHELL := /bin/sh
# PyTorch's own CPU index: the plain one carries gigabytes of CUDA on Linux. Empty it to use pip's own indexes alone.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BANKS ?= 10
# Empty: the population's own.
ROUNDS ?=
RECIPE ?=
POPULATION ?= tutorial
PRESET ?=
AGGREGATION ?= secure
SEED ?= 7
RUN_DIR ?=
KEEP ?=
PAGE_PORT ?=
NAMES ?=
FROM ?=
TO ?=

# The first of these that runs, unless PYTHON= names one.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PROTOS := $(wildcard proto/fedfraud/v1/*.proto)
GENERATED := fedfraud/v1/.generated
# $(call quoted,a b) is one word to the shell; $(call option,SEED,--seed) is nothing for an empty variable.
quoted = '$(subst ','\'',$(1))'
option = $(if $($(1)),$(2) $(call quoted,$($(1))))
# The same for what somebody set, on the command line or in the environment, and nothing for a default of this file.
chosen = $(if $(filter command environment,$(firstword $(origin $(1)))),$(call option,$(1),$(2)))
NETWORK = $(call option,BANKS,--banks) $(call option,ROUNDS,--rounds) $(call option,RECIPE,--recipe) \
	$(call option,POPULATION,--population) $(call option,SEED,--seed) $(call option,AGGREGATION,--aggregation) \
	$(call option,PRESET,--preset) $(call option,RUN_DIR,--run-dir) \
	$(call option,PAGE_PORT,--page-port) $(if $(KEEP),--keep)

.PHONY: help setup proto demo test unit federation bench peers faults faults-short compose browser screenshots lint manifests up down logs run verify report clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo 'Variables: BANKS ROUNDS RECIPE POPULATION PRESET AGGREGATION SEED RUN_DIR PAGE_PORT KEEP=1 PYTHON TORCH_INDEX; of faults NAMES FROM TO'

setup: $(INSTALLED) $(GENERATED) ## make .venv with everything in it

$(INSTALLED): pyproject.toml constraints.txt deploy/renderer.txt
	@test -n "$(PYTHON)" || { echo 'fedfraud needs Python 3.11 to 3.14; none was found. Name one: make PYTHON=/path/to/python3.12'; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo '$(PYTHON) cannot make a virtual environment (Debian and Ubuntu: apt install python3-venv)'; exit 1; }
	@echo "==> making $(VENV) with $$($(PYTHON) --version): about two minutes the first time"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo '==> installing torch for the CPU'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --retries 0 \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch==2.13.0
	@echo '==> installing the rest'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt '.[dev]'
	@echo '==> installing kustomize'
	@$(BIN)/python -m deploy.renderer
	@touch $@

proto: $(GENERATED) ## generate the gRPC stubs from proto/

$(GENERATED): $(PROTOS) $(INSTALLED)
	@echo '==> generating stubs from proto/'
	@rm -rf fedfraud/v1
	@$(BIN)/python -m grpc_tools.protoc -Iproto --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
		--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
		--python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTOS)
	@touch $@

demo: setup ## run the whole network as local processes, to its report
	@$(BIN)/python -m services $(NETWORK)

lint: setup manifests ## ruff, mypy and the Kubernetes manifests
	@echo '==> ruff'
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .
	@echo '==> mypy'
	@$(BIN)/mypy fedfraud simulation services deploy benchmarks tests

manifests: setup ## render the Kubernetes manifests by kustomize and hold them to the API's schemas
	@echo '==> manifests'
	@$(BIN)/python -m deploy.manifests $(if $(filter all,$(REQUIRE)),--require)

test: lint unit federation browser faults-short compose ## lint and every test; what the machine lacks is skipped by name

unit: setup ## tests without processes
	@echo '==> unit tests'
	@$(BIN)/pytest -q tests --ignore=tests/federation --ignore=tests/compose --ignore=tests/faults --ignore=tests/browser

federation: setup ## tests with real processes and mutual TLS
	@echo '==> federation tests: real processes, real certificates'
	@$(BIN)/pytest -q tests/federation

browser: setup ## tests of the live page in headless Chromium, on real processes
	@echo '==> browser tests: the live page in Chromium'
	@$(BIN)/pytest -q tests/browser

screenshots: setup ## run the network and take the README's pictures of its page (needs chromium)
	@$(BIN)/python -m tests.browser.screenshots

faults-short: setup ## a few trials of every fault campaign, others each minute (FAULTS_OFFSET= for the same ones)
	@echo '==> fault campaigns, a few trials of each'
	@$(BIN)/pytest -q -s tests/faults

faults: setup ## every fault campaign, all trials (an hour and more); NAMES="disk kills" FROM=10 TO=20 for some
	@$(BIN)/python -m tests.faults $(NAMES) $(if $(FROM),--from $(FROM)) $(if $(TO),--to $(TO))

compose: setup ## tests with running containers
	@echo '==> compose tests: real containers'
	@$(BIN)/pytest -q tests/compose

up: ## start the network in containers and follow it
	docker compose up --build

down: ## end the network in containers and take its volumes away
	docker compose down --volumes --remove-orphans

logs: ## follow the containers' logs
	docker compose logs --follow

run: ## start another run on the network that is up in containers; what you do not set is as it was started
	@docker compose ps --quiet --status running aggregator | grep -q . || { echo 'No network is up in containers: start one with docker compose up, or make up.'; exit 1; }
	docker compose run --rm operator start $(call chosen,ROUNDS,--rounds) $(call chosen,RECIPE,--recipe) $(call chosen,SEED,--seed)

verify: setup ## check a run's journal, sums and models again: RUN_DIR=runs/..., or the newest
	@run=$(if $(RUN_DIR),$(call quoted,$(RUN_DIR)),"$$(ls -td runs/*/ 2>/dev/null | head -n 1)"); test -n "$$run" || { echo 'There is no run yet: make demo makes one.'; exit 1; }; \
		echo "==> verifying $$run"; $(BIN)/python -m services.aggregator verify --data-dir "$$run/aggregator"

BENCHMARKS := training many_banks transport tutorial containers
# Those that write their results as JSON; the rest of benchmarks/ is run by hand.
KNOWN_BENCHMARKS := training many_banks transport tutorial containers scoring
ifneq ($(filter bench,$(MAKECMDGOALS)),)
ifneq ($(filter-out $(KNOWN_BENCHMARKS),$(BENCHMARKS)),)
$(error BENCHMARKS must be of $(KNOWN_BENCHMARKS), got $(filter-out $(KNOWN_BENCHMARKS),$(BENCHMARKS)))
endif
endif
# The frameworks beside them that take a minute or two each; the others take minutes: benchmarks/transport.py --help.
BESIDE := --frameworks 'Flower simulation,NVFlare simulator' --limit 200
BESIDE_many_banks := $(BESIDE)
BESIDE_transport := $(BESIDE)

bench: setup ## the benchmarks of speed and scale beside their yardsticks, 28 minutes on two cores; BENCHMARKS="transport" for some
	@$(foreach name,$(BENCHMARKS),$(BIN)/python benchmarks/$(name).py $(BESIDE_$(name)) \
		--json benchmarks/results/$(name).json || exit 1; echo;)

peers: setup ## environments of Flower and NVFlare for the benchmarks (minutes, gigabytes)
	@$(BIN)/python benchmarks/peers/set_up.py --torch-index $(call quoted,$(TORCH_INDEX))

report: setup ## write the report of the last run again, by OpenAI if you give a key
	@$(BIN)/python -m services.reporter write

clean: ## remove what was generated; run folders and reports stay
	rm -rf $(VENV) fedfraud/v1 .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
