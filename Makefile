# make demo | test | napari | bench. Everything goes into .venv; a second run only does what is left.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test napari bench weights lint clean

VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; PYTHON=/path/to/python chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 /opt/homebrew/bin/python3 /usr/local/bin/python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && { command -v $$p; break; }; done)
APT := libgl1 libegl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0 xvfb libxkbcommon-x11-0 \
	libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
PYTEST_ARGS ?=
# Idle OpenMP threads that spin take the other cores away from everyone.
export OMP_WAIT_POLICY ?= PASSIVE

help:
	@echo 'make demo    install, fetch the weights, run a dialogue on the bundled case'
	@echo 'make test    install what the tests need and run them'
	@echo 'make napari  open the viewer with the sample and the dock'
	@echo 'make bench   time a warm turn against the published schedule'
	@echo 'make weights fetch the weights of the preset lite (about 130 MB)'
	@echo 'make lint    ruff'
	@echo 'make clean   remove .venv and what was built'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'Python >= 3.11 with venv is needed (Debian: apt install python3 python3-venv;' \
		'macOS: brew install python). Or say PYTHON=/path/to/python.'; exit 1; }
	@echo 'Making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.all: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing napari-mediround (about 2 GB in $(VENV), some minutes)'
	@$(PIP_INSTALL) -e '.[all]'
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing napari-mediround and what its tests need (about 2 GB in $(VENV), some minutes)'
	@$(PIP_INSTALL) -e '.[all,test]'
	@touch $(VENV)/.all $@

# Qt, OpenGL and a virtual screen: installed when root on Debian, otherwise the line to run is said.
$(VENV)/.system: | $(BIN)/python
	@if [ "$$(uname)" = Linux ] && command -v dpkg-query >/dev/null 2>&1; then \
		missing=''; for p in $(APT); do \
			dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' \
			|| dpkg-query -W -f '$${Status}' $${p}t64 2>/dev/null | grep -q 'ok installed' \
			|| missing="$$missing $$p"; done; \
		if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then \
			echo "Installing system libraries:$$missing"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
				$$missing >/dev/null; \
		elif [ -n "$$missing" ]; then \
			echo "The GUI tests need:  sudo apt-get install -y$$missing"; exit 1; \
		fi; \
	elif [ "$$(uname)" = Linux ] && ! command -v Xvfb >/dev/null 2>&1; then \
		echo 'The GUI tests need Xvfb and Mesa OpenGL from your distribution.'; exit 1; \
	fi
	@touch $@

weights: $(VENV)/.all
	@$(BIN)/mediround weights fetch

demo: weights
	@$(BIN)/mediround demo --out demo

test: $(VENV)/.system $(VENV)/.test weights
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

napari: weights
	@$(BIN)/napari resources/sample/ct_abdomen/image.nii.gz --plugin napari-mediround \
		--with napari-mediround 'MediRound chat'

bench: $(VENV)/.test weights
	@$(BIN)/python tests/bench/warm_turn.py

lint: $(VENV)/.test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build dist demo .cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info
