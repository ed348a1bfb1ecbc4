# make demo: install, restore the sample scene.   make test: install, run the whole suite.
# make docs: build the site.                       make dist: build sdist and wheel.
# make notebooks: run the scripts of examples/, and keep them as notebooks with their figures.
# make pictures: make again every picture that README and docs show; DATA=... has the Landsat scene.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
DATA ?= ../shared/data
NOTEBOOKS := $(patsubst %.py,%.ipynb,$(wildcard examples/*.py))

.PHONY: demo test docs notebooks dist pictures clean

demo: $(VENV)/installed
	@mkdir -p $(DEMO)
	$(BIN)/geodecloud sample_data/s2_cloudy.tif $(DEMO)/s2_restored.tif \
		--provenance $(DEMO)/s2_provenance.tif --preview $(DEMO)/s2_preview.png \
		--report $(DEMO)/s2_report.html --overwrite
	@echo "restored:    $(CURDIR)/$(DEMO)/s2_restored.tif"
	@echo "provenance:  $(CURDIR)/$(DEMO)/s2_provenance.tif"
	@echo "picture:     $(CURDIR)/$(DEMO)/s2_preview.png  (before | after | provenance)"
	@echo "page:        $(CURDIR)/$(DEMO)/s2_report.html  (open it in a browser)"

test: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses logical --dist worksteal

# MkDocs without the warning that its theme has a successor.
docs: $(VENV)/installed-docs $(NOTEBOOKS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "the site: $(CURDIR)/site/index.html"

notebooks: $(NOTEBOOKS)

examples/%.ipynb: examples/%.py $(wildcard examples/helpers/*.py geodecloud/model/weights/*) | $(VENV)/installed-docs
	$(BIN)/python -m jupytext --quiet --set-kernel python3 --to ipynb --execute --output $@ $<

pictures: $(VENV)/installed
	$(BIN)/python benchmarks/pictures.py --data $(DATA)

dist: $(VENV)/installed-dist
	@rm -rf dist
	$(BIN)/python -m build --outdir dist .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-dist: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet 'build>=1.2'
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) site dist $(NOTEBOOKS) examples/results
