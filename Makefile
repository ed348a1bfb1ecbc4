# make demo: install, restore the sample scene.   make test: install, run the whole suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test clean

demo: $(VENV)/installed
	@mkdir -p $(DEMO)
	$(BIN)/geodecloud sample_data/s2_cloudy.tif $(DEMO)/s2_restored.tif \
		--provenance $(DEMO)/s2_provenance.tif --preview $(DEMO)/s2_preview.png --overwrite
	@echo "restored:    $(CURDIR)/$(DEMO)/s2_restored.tif"
	@echo "provenance:  $(CURDIR)/$(DEMO)/s2_provenance.tif"
	@echo "picture:     $(CURDIR)/$(DEMO)/s2_preview.png  (before | after | provenance)"

test: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses logical --dist worksteal

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) $(DEMO)
