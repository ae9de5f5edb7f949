# Targets
#   demo            train a small detector on drawn shapes, into an emptied result/demo
#   ablation        compare the choices of the training objective on the data set in ROOT
#   test            all tests but the slow ones
#   coverage        the same tests, and the coverage floor. Before Python 3.12 they take twice as long
#   test-slow       the slow tests
#   test-multihost  the tests that build two hosts from network namespaces
#   test-gpu        the tests that need a GPU, with a report in build/gpu-report.txt
#   test-cuda       the GPU code, compiled and executed on the CPU. Installs two CuPys in build/cuda
#   fuzz            random input for every core computation and every parser, for FUZZ_SECONDS
#   mutants         breaks the core lines one by one, and shows that the tests notice
#   test-matrix     the tests on each Python with its oldest and its newest NumPy
#   lint            ruff, ruff format, the prose rules, mypy
#   format          rewrite the code as ruff formats it
#   docs            the documentation, into build/docs
#   bench           the benchmarks, into result/bench.txt and result/bench.png
#   wheel           the package, into dist/
#   wheelhouse      the wheels of Chainer and of the package, into wheelhouse/
#   venv            the environment .venv that the other targets use
#   clean           remove what can be built again. Results stay.
# Variables
#   PYTHON=python3.12        the Python that makes .venv and the wheels
#   PY=/path/to/python       an environment that has everything already: no .venv is made
#   CUDA=cuda12x-cudnn       the extra that test-gpu installs. Default: by the driver
#   DEMO_ARGS, TEST_ARGS, BENCH_ARGS
#                            more arguments for `chainer-ssd train`, pytest, tests/benchmarks.
#   ROOT                     for ablation: a folder in Pascal VOC's layout
#   JOBS                     for ablation, fuzz and mutants: parallel runs
#   TEST_JOBS=2              for test and coverage: processes. Default: the cores, at most 4
#   FUZZ_SECONDS, FUZZ_ARGS  for fuzz: its time, and more arguments for tests/fuzz
#   MUTANTS_ARGS             more arguments for tests/mutants
#   PYTHONS                  for test-matrix: the Pythons to test

PYTHON ?= python3
VENV ?= .venv
CUDA ?=
JOBS ?= 1
TEST_JOBS ?= auto
FUZZ_SECONDS ?= 300
ifndef PY
PY := $(VENV)/bin/python
ENVIRONMENT := $(VENV)/ready
GPU_ENVIRONMENT := $(VENV)/ready-gpu$(CUDA)
endif

# Chainer's setup.py needs an older setuptools than pip takes. The first variable reaches the
# isolated build of older pips, the second one that of current pips. pip splits both at spaces.
# So they hold the path as a file: URL, in which no space can be.
CONSTRAINTS := $(shell $(PYTHON) -c \
	'from pathlib import Path; print(Path("build-constraints.txt").resolve().as_uri())')
export PIP_CONSTRAINT := $(CONSTRAINTS)
export PIP_BUILD_CONSTRAINT := $(CONSTRAINTS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

COVERAGE_FOLDER := build/coverage
PYTEST := -m pytest -n $(TEST_JOBS) --maxprocesses 4 --dist worksteal

.PHONY: demo ablation test coverage test-slow test-multihost test-gpu test-cuda fuzz mutants \
	test-matrix lint format docs bench wheel wheelhouse venv clean

demo: $(ENVIRONMENT)
	rm -rf result/demo
	$(PY) -m chainer_ssd train --dataset shapes --out result/demo $(DEMO_ARGS)

ablation: $(ENVIRONMENT)
	$(PY) scripts/ablation.py --root $(ROOT) --jobs $(JOBS)

test: $(ENVIRONMENT)
	$(PY) $(PYTEST) $(TEST_ARGS)

# `combine` warns of each file that a killed process has left incomplete, and goes on.
coverage: $(ENVIRONMENT)
	rm -rf $(COVERAGE_FOLDER)
	mkdir -p $(COVERAGE_FOLDER)
	$(PY) -m coverage run $(PYTEST)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

test-slow: $(ENVIRONMENT)
	$(PY) -m pytest -m slow --ignore tests/multihost $(TEST_ARGS)

test-multihost: $(ENVIRONMENT)
	$(PY) -m pytest -m slow -rs tests/multihost $(TEST_ARGS)

test-gpu: $(GPU_ENVIRONMENT)
	$(PY) -m tests.gpu
	$(PY) -m tests.gpu.report $(TEST_ARGS)

# Each file on one process, because its tests share what they compile.
test-cuda: $(ENVIRONMENT) build/cuda/cuda12/ready build/cuda/cuda13/ready
	$(PY) -m pytest -m cuda -rs -n $(TEST_JOBS) --maxprocesses 4 --dist loadfile $(TEST_ARGS)

# An environment with one CuPy and its NVRTC. The tests must not find CuPy beside them.
build/cuda/%/ready: tests/cuda/requirements/%.txt | $(ENVIRONMENT)
	$(PY) -m venv --clear build/cuda/$*
	build/cuda/$*/bin/python -m pip install --quiet --requirement $<
	touch $@

fuzz: $(ENVIRONMENT)
	$(PY) -m tests.fuzz --seconds $(FUZZ_SECONDS) --jobs $(JOBS) $(FUZZ_ARGS)

mutants: $(ENVIRONMENT)
	$(PY) -m tests.mutants --jobs $(JOBS) $(MUTANTS_ARGS)

test-matrix:
	$(PYTHON) scripts/matrix.py $(PYTHONS)

lint: $(ENVIRONMENT)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) scripts/prose.py
	$(PY) -m mypy

format: $(ENVIRONMENT)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(ENVIRONMENT)
	$(PY) -m sphinx -W --keep-going -b html docs build/docs

bench: $(ENVIRONMENT)
	$(PY) -m tests.benchmarks --out result/bench.txt --plot result/bench.png $(BENCH_ARGS)

# setuptools packs everything that lies in build/lib, also modules that have been moved since.
wheel:
	rm -rf build/lib
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .

wheelhouse:
	rm -rf build/lib
	$(PYTHON) -m pip wheel --quiet --no-deps --use-pep517 --wheel-dir wheelhouse chainer==7.8.1 .

venv: $(VENV)/ready

$(VENV)/ready: setup.py pyproject.toml build-constraints.txt chainer_ssd.pth
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --use-pep517 --editable '.[dev]'
	touch $@

$(VENV)/ready-gpu$(CUDA): $(VENV)/ready
	extra=$$($(VENV)/bin/python -m tests.gpu extra) && \
		$(VENV)/bin/python -m pip install --quiet --editable ".[dev,$(or $(CUDA),$$extra)]"
	touch $@

clean:
	rm -rf $(VENV) .matrix build dist wheelhouse *.egg-info .pytest_cache .hypothesis \
		.ruff_cache .mypy_cache .coverage
