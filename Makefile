# make demo | ablation | test | test-slow | test-multihost | test-gpu | test-matrix | lint | bench | venv | clean
#   PYTHON=python3.12        the Python that .venv is made with
#   PY=/path/to/python       an environment that has everything already: no .venv is made
#   CUDA=cuda12x             the extra that test-gpu installs
#   DEMO_ARGS, TEST_ARGS, BENCH_ARGS
#                            more arguments for examples/train.py, pytest, tests/benchmarks
#   ROOT, JOBS               for ablation: a folder in Pascal VOC's layout, and runs side by side

PYTHON ?= python3
VENV ?= .venv
CUDA ?= cuda13x
JOBS ?= 1
ifndef PY
PY := $(VENV)/bin/python
ENVIRONMENT := $(VENV)/ready
GPU_ENVIRONMENT := $(VENV)/ready-$(CUDA)
endif

# Chainer's setup.py needs an older setuptools than pip takes. The first variable reaches the
# isolated build up to pip 25, the second since. Relative paths: neither may hold a space.
export PIP_CONSTRAINT := build-constraints.txt
export PIP_BUILD_CONSTRAINT := build-constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo ablation test test-slow test-multihost test-gpu test-matrix lint bench venv clean

demo: $(ENVIRONMENT)
	$(PY) examples/train.py --dataset shapes --out result $(DEMO_ARGS)

ablation: $(ENVIRONMENT)
	$(PY) examples/ablation.py --root $(ROOT) --jobs $(JOBS)

test: $(ENVIRONMENT)
	$(PY) -m pytest $(TEST_ARGS)

test-slow: $(ENVIRONMENT)
	$(PY) -m pytest -m slow --ignore tests/multihost $(TEST_ARGS)

test-multihost: $(ENVIRONMENT)
	$(PY) -m pytest -m slow -rs tests/multihost $(TEST_ARGS)

test-gpu: $(GPU_ENVIRONMENT)
	$(PY) -m tests.gpu
	$(PY) -m pytest -m gpu $(TEST_ARGS)

test-matrix:
	$(PYTHON) scripts/matrix.py $(PYTHONS)

lint: $(ENVIRONMENT)
	$(PY) -m ruff check .

bench: $(ENVIRONMENT)
	$(PY) -m tests.benchmarks --out result/bench.txt --plot result/bench.png $(BENCH_ARGS)

venv: $(VENV)/ready

$(VENV)/ready: setup.py pyproject.toml build-constraints.txt chainer_ssd.pth
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --use-pep517 --editable '.[dev]'
	touch $@

$(VENV)/ready-$(CUDA): $(VENV)/ready
	$(VENV)/bin/python -m tests.gpu driver
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev,$(CUDA)]'
	touch $@

clean:
	rm -rf $(VENV) .matrix build dist result *.egg-info .pytest_cache .hypothesis .ruff_cache
