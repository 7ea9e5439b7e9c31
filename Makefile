# make demo | test: everything from nothing; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
OUT ?= benchmarks/results
STAMP := $(VENV)/.installed

.PHONY: build ext demo test quick test-one cpp-test test-instruction-sets lint format tables bench gpu-gate fuzz clean

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip setuptools wheel "cmake>=3.18" ninja
	$(BIN)/python -m pip install -q $(TORCH)
	$(BIN)/python -m pip install -q --no-build-isolation -e ".[test,lint]"
	touch $@

build: $(STAMP) ext

ext: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python setup.py -q build_ext --inplace

demo: build
	$(BIN)/deeplab demo -o demo-out

# A worker process a core, so one thread each; tests of several threads set their own number.
test: build cpp-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

# One of each kind, under a minute: what to run after every edit.
QUICK ?= tests/prototxt_import/prototxt/test_text.py tests/deeplab_repro/ops/test_conv_add_bias.py \
         tests/deeplab_repro/net/test_network.py tests/deeplab_repro/crf/test_model.py
quick: build
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal $(QUICK)

# make test-one T=tests/deeplab_repro/ops | T=a_file.py::a_test | T="lattice and gradients"
test-one: build
	@test -n "$(T)" || { echo "make test-one T=PATH, T=PATH::TEST or T=EXPRESSION" >&2; exit 2; }
	$(BIN)/python -m pytest $(if $(wildcard $(firstword $(subst ::, ,$(T)))),"$(T)",-k "$(T)")

# The kernels' tests once more on the lower instruction sets, torch's own convolutions held to AVX2: a processor that
# lacks one takes the best it has. Not those of torch.compile, and those that choose sets themselves.
CAPABILITIES ?= plain avx2
test-instruction-sets: build
	for set in $(CAPABILITIES); do \
	  DEEPLAB_CPU_CAPABILITY=$$set ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -q -n auto --dist worksteal tests/deeplab_repro/ops \
	    --ignore=tests/deeplab_repro/ops/test_conv_transforms.py \
	    --ignore=tests/deeplab_repro/ops/test_instruction_sets.py || exit 1; \
	done

cpp-test: $(STAMP)
	PYTHON=$(BIN)/python bash tests/cpp/run.sh

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python tests/tools/import_graph.py
	$(BIN)/python tests/tools/include_direction.py
	bash tests/tools/clang_format.sh

format: $(STAMP)
	$(BIN)/ruff format .
	FIX=1 bash tests/tools/clang_format.sh

tables: build
	$(BIN)/python -m deeplab_repro.verify.readme README.md
	$(BIN)/python -m tests.tools.supported

RUNS ?= 1000000
fuzz: $(STAMP)
	$(BIN)/python -m pip install -q "atheris>=2.3"
	for kind in text binary hdf5 datum; do $(BIN)/python tests/fuzz/fuzz_$$kind.py -runs=$(RUNS) || exit; done

bench: build
	$(BIN)/python -m deeplab_repro.bench.run

# The present interpreter, with what it has: no environment, no network.
gpu-gate:
	$(PYTHON) -m benchmarks.gpu_gate --out "$(OUT)"

clean:
	rm -rf build deeplab_repro/ops/_C*.so
