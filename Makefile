# make demo | test: everything from nothing; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
OUT ?= benchmarks/results
STAMP := $(VENV)/.installed
TESTED := $(VENV)/.tested
DOCUMENTED := $(VENV)/.documented
# A line a step; V=1 shows what each prints.
STEP := @$(PYTHON) tests/tools/step.py
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q
BUILD := $(BIN)/python setup.py -q build_ext --inplace

.PHONY: build demo test quick test-one cpp-test test-instruction-sets lint format tables docs bench gpu-gate fuzz \
        wheel wheel-test torch-matrix clean

# The extension before what it needs to run, so that its progress is seen and pip finds it built.
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) tests/tools/step.py "environment in $(VENV)" $(PYTHON) -m venv $(VENV)
	$(STEP) "pip, setuptools, CMake, ninja" $(PIP) --upgrade pip "setuptools>=77" wheel "cmake>=3.18" ninja
	$(STEP) "$(TORCH)" $(PIP) $(TORCH)
	$(STEP) "the extension" $(BUILD)
	$(STEP) "deeplab-repro and what it needs" $(PIP) --no-build-isolation -e .
	@touch $@

# What tests and lint need beside it; the demo does not.
$(TESTED): $(STAMP)
	$(STEP) "what tests and lint need" $(PIP) --no-build-isolation -e ".[test,lint]"
	@touch $@

# What the pages need.
$(DOCUMENTED): $(STAMP)
	$(STEP) "what the pages need" $(PIP) --no-build-isolation -e ".[docs]"
	@touch $@

build: $(STAMP)
	$(STEP) "the extension" $(BUILD)

demo: build
	@$(BIN)/deeplab demo -o demo-out

# A worker process a core, so one thread each; tests of several threads set their own number.
test: build $(TESTED) cpp-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

# One of each kind, under a minute: what to run after every edit.
QUICK ?= tests/prototxt_import/prototxt/test_text.py tests/deeplab_repro/ops/test_conv_add_bias.py \
         tests/deeplab_repro/net/test_network.py tests/deeplab_repro/crf/test_model.py
quick: build $(TESTED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal $(QUICK)

# make test-one T=tests/deeplab_repro/ops | T=a_file.py::a_test | T="lattice and gradients"
test-one: build $(TESTED)
	@test -n "$(T)" || { echo "make test-one T=PATH, T=PATH::TEST or T=EXPRESSION" >&2; exit 2; }
	$(BIN)/python -m pytest $(if $(wildcard $(firstword $(subst ::, ,$(T)))),"$(T)",-k "$(T)")

# The kernels' tests once more on the lower instruction sets, torch's own convolutions held to AVX2: a processor that
# lacks one takes the best it has. Not those of torch.compile, and those that choose sets themselves.
CAPABILITIES ?= plain avx2
test-instruction-sets: build $(TESTED)
	for set in $(CAPABILITIES); do \
	  DEEPLAB_CPU_CAPABILITY=$$set ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -q -n auto --dist worksteal tests/deeplab_repro/ops \
	    --ignore=tests/deeplab_repro/ops/test_conv_transforms.py \
	    --ignore=tests/deeplab_repro/ops/test_instruction_sets.py || exit 1; \
	done

cpp-test: $(TESTED)
	PYTHON=$(BIN)/python bash tests/cpp/run.sh

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python tests/tools/import_graph.py
	$(BIN)/python tests/tools/include_direction.py
	bash tests/tools/clang_format.sh

format: $(TESTED)
	$(BIN)/ruff format .
	FIX=1 bash tests/tools/clang_format.sh

tables: build $(TESTED)
	$(BIN)/python -m deeplab_repro.verify.tables docs/results.md
	$(BIN)/python -m tests.tools.supported

# build/site: every warning is an error.
docs: $(DOCUMENTED)
	$(STEP) "the pages in build/site" env NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build -q --strict

RUNS ?= 1000000
fuzz: $(TESTED)
	$(BIN)/python -m pip install -q "atheris>=2.3"
	for kind in text binary hdf5 datum; do $(BIN)/python tests/fuzz/fuzz_$$kind.py -runs=$(RUNS) || exit; done

bench: build
	$(BIN)/python -m deeplab_repro.bench.run

# dist/: for the Python, torch and instruction sets of this machine and newer ones; CUDA where a toolkit is.
wheel: build
	@rm -rf dist
	$(STEP) "the wheel" $(BIN)/python -m pip --disable-pip-version-check wheel -q --no-build-isolation --no-deps -w dist .
	@ls -l dist/*.whl

# The wheel as a stranger has it: in a fresh environment, away from the checkout.
wheel-test: wheel
	VENV=$(VENV) bash tests/tools/wheel.sh

# Oldest, pinned and newest torch, each Python that is here, in fresh environments: hours of downloads on a slow line.
torch-matrix:
	$(PYTHON) tests/tools/torch_matrix.py

# The present interpreter, with what it has: no environment, no network.
gpu-gate:
	$(PYTHON) -m benchmarks.gpu_gate --out "$(OUT)"

clean:
	rm -rf build deeplab_repro/ops/_C*.so
