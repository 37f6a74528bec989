# The first of these that is there and new enough makes the virtual environment.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test check caffe2 pytorch docs bench clean

demo: $(READY)
	$(BIN)/retorch inspect examples/digits/digits.t7
	$(BIN)/retorch convert examples/digits/digits.t7 -o build/digits
	$(BIN)/python -m examples.digits build/digits

test: $(READY)
	$(BIN)/python -m pytest -n auto

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

caffe2: $(READY)
	$(BIN)/retorch caffe2 install

# INDEX is a package index that has builds of torch without CUDA, which are smaller.
pytorch: $(READY)
	$(BIN)/retorch pytorch install $(if $(INDEX),--index $(INDEX))

docs: $(READY)
	$(BIN)/pip install -q -c requirements.lock -e '.[docs]'
	$(BIN)/python tools/reference.py docs/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q --strict

bench: $(READY)
	for name in startup read convert proof many nets predict spynet large weights; do $(BIN)/python -m benchmarks.$$name || exit 1; done

clean:
	rm -rf $(VENV) build site docs/reference

$(READY): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c requirements.lock -e '.[all,dev]'
	@$(BIN)/python -m compileall -q src
	@touch $(READY)
