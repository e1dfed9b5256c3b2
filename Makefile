# Every target makes what it needs first; bare `make` lists them.
# PYTHON=python3.12 chooses the interpreter, ARGS="-k motion" goes to the command that is run.
.DEFAULT_GOAL := help
SHELL := /bin/bash
python := .venv/bin/python

.PHONY: help setup demo test test-slow test-interop test-jax test-pi test-picamera test-systemd test-faults soak lint format docs \
	bench-training bench-runtime bench-store bench-events dist locks clean distclean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with everything the workshop needs (2.7 GB, once), and nothing else
	@.ci/bootstrap workshop

demo: setup ## Train, convert, judge and run a small model, start to finish
	@.venv/bin/sightpost demo $(ARGS)

test: setup ## Run the tests
	@$(python) -m pytest $(ARGS)

test-slow: setup ## Run the tests that take longer than ten seconds
	@$(python) -m pytest -m slow $(ARGS)

test-systemd: setup ## Boot a real systemd with our service: kill, hang, starve, reboot it (needs root and apt; 550 MB, once)
	@folder=$$(.ci/systemd-tree) || [ $$? -eq 77 ] || exit 1; \
		SYSTEMD_TREE="$$folder" $(python) -m pytest tests/systemd $(ARGS)

# What has a long form, by its number among the acceptance tests.
soaks := 10_mutants 11_camera 12_recordings 13_start 15_soak 20_overload
test-faults: setup ## Break a station in every way we know; print what was lost (15 minutes)
	@$(python) -m pytest tests/faults/test_[0-9][0-9]_*.py -m "slow or not slow" $(ARGS)

soak: setup ## The long forms of these: a run of SOAK_MINUTES=120, a day of pictures, 5,000 models
	@SOAK_MINUTES=$${SOAK_MINUTES:-120} $(python) -m pytest $(soaks:%=tests/faults/test_%.py) -m slow $(ARGS)

test-interop: setup ## Let MediaPipe, older TFLite runtimes and minisign read our files (800 MB, once)
	@.ci/bootstrap interop
	@.ci/bootstrap tflite-runtime
	@$(python) -m pytest tests/interop tests/edge/test_minisign.py $(ARGS)

test-jax: setup ## Train with Keras on JAX, in .venv-jax without TensorFlow (800 MB, once)
	@.ci/bootstrap jax
	@$(python) -m pytest tests/interop/test_jax.py -m slow $(ARGS)

test-pi: setup ## Run our models on emulated Pi boards, follow docs/raspberry-pi.md (needs root and apt; 1 GB)
	@pi=$$(.ci/pi-tree) && PI="$$pi" $(python) -m pytest tests/pi $(ARGS)

test-picamera: setup ## Run the Pi camera's source on the real picamera2 (needs root and apt; 650 MB, once)
	@folder=$$(.ci/picamera-tree) || [ $$? -eq 77 ] || exit 1; \
		PICAMERA="$$folder" $(python) -m pytest tests/picamera $(ARGS)

lint: setup ## Check style, formatting, types and the direction of imports
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@.venv/bin/lint-imports

format: setup ## Rewrite the sources in the house format
	@$(python) -m ruff check --fix-only .
	@$(python) -m ruff format .

docs: setup ## Write the pages made from --help
	@$(python) docs/make_cli.py $(ARGS)

bench-training: setup ## Time training against plain Keras fit (needs photos; ten minutes)
	@$(python) bench/training.py --whole $(ARGS)

bench-store: setup ## What an event costs the card, and the start after a kill (a minute)
	@$(python) -m bench.store $(ARGS)

bench-events: setup ## Time queries over a million events (2 GB on disk; three minutes)
	@$(python) -m bench.events $(ARGS)

bench-runtime: setup ## Run our loop and its peers side by side (570 MB, once; eight minutes)
	@.ci/bootstrap peers
	@$(python) -m bench.runtime $(ARGS)

dist: setup ## Build the wheel, the device locks that name it and their bills of materials, into dist/
	@.ci/dist

locks: ## Resolve every lock in requirements/ again (needs uv; ARGS=--upgrade takes newer versions)
	@.ci/locks $(ARGS)

clean: ## Remove what was built and every cache
	@rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find train convert edge tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the environments as well
	@rm -rf .venv .venv-interop .venv-tflite-runtime .venv-jax .venv-peers
