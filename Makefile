# npuopt: `make demo` shows it, `make test` tests it. Both need Python >= 3.11 with venv, and make; nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= out
JOBS   ?= 2
SECONDS ?= 120
.DEFAULT_GOAL := help
.PHONY: help demo test lint format models fuzz docs clean

help:  ## show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "npuopt needs Python 3.11 or newer; this is `$(PYTHON) --version`. Set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv"; exit 1; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[qnn,link,generate]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## compile the bundled language model for a Snapdragon 8 Elite, simulate it, let it speak
	$(BIN)/npuopt compile examples/tiny_llama/model.onnx --target qualcomm/sm8750 --dim batch=1 --dim seq=1 --dim past=127 \
	    --calibration examples/tiny_llama/calibration.npz --precision a16w8 -o $(OUT)
	$(BIN)/npuopt run $(OUT) --inputs examples/tiny_llama/sample.npz
	$(BIN)/npuopt compile examples/tiny_llama/model.onnx --target qualcomm/sm8750 --context 128 --chunk 32 -o $(OUT)_text
	$(BIN)/npuopt generate $(OUT)_text --prompt "My fellow citizens" --max-tokens 4 --engine device
	$(BIN)/npuopt generate $(OUT)_text --prompt "My fellow citizens" --temperature 0.8 --top-k 40 --seed 2 --max-tokens 100

test: $(VENV)/.dev  ## run the tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

lint: $(VENV)/.dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(VENV)/.dev  ## optimize random graphs for SECONDS (120) and compare; SEED=N starts there, SECONDS=0 runs that one round
	PYTHONPATH=tests:. $(BIN)/python -m fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

docs: $(VENV)/.dev  ## write docs/targets and docs/target.schema.json anew
	$(BIN)/python -m npuopt.target.documentation docs

models: | $(BIN)/python  ## fetch and export the real models into the cache folder (about 1 GB, with torch in an environment of its own)
	$(BIN)/python -m tools.models

clean:  ## remove what make made here (not the models)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis $(OUT) $(OUT)_text
