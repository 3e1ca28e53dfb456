# make demo    show the whole story on real photographs, in under a minute
# make test    check the style, run the tests, measure their coverage
#              (OLDEST=1: the oldest supported libraries; TESTS=...: only these, no coverage)
# make proof   run the long proofs: kills, power cuts, full disks (PROCESSES=4, if not one a core)
# make bench   measure the speed (PEERS=1: and that of others)
# make deb     build the Debian package
# make acceptance   install it on a real systemd and try everything there
# make check   ruff and mypy alone; make fix: mend what they can, and the README's reference
#
# A fresh clone, make and a Python of at least 3.11 are all that is needed: each target
# makes the virtual environment that it works in.

.SHELLFLAGS := -euc
.DEFAULT_GOAL := test
.PHONY: demo test proof bench check fix deb acceptance clean

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

# A python of pyenv may be a name that runs nothing, so each candidate is tried.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
SUITABLE := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
FIND_PYTHON := for each in $(PYTHON); do \
	    if "$$each" -c '$(SUITABLE)' 2>/dev/null; then found=$$each; break; fi; done; \
	[ -n "$${found:-}" ] || { echo "no Python >= 3.11 with venv among: $(PYTHON)" >&2; exit 1; }

ifdef OLDEST
VENV := .venv-oldest
CONSTRAINTS := -c tests/constraints-oldest.txt
else
VENV := .venv
CONSTRAINTS :=
endif

COVERAGE := build/coverage
TESTS ?=

$(VENV)/bin/python:
	@$(FIND_PYTHON); "$$found" -m venv $(VENV)

$(VENV)/demo-ready: $(VENV)/bin/python pyproject.toml tests/constraints-oldest.txt
	$(VENV)/bin/python -m pip install --quiet $(CONSTRAINTS) -e '.[demo]'
	@touch $@

$(VENV)/test-ready: $(VENV)/bin/python pyproject.toml tests/constraints-oldest.txt
	$(VENV)/bin/python -m pip install --quiet $(CONSTRAINTS) -e '.[demo,test,check]' 'pytest-xdist>=3'
	@touch $@

demo: $(VENV)/demo-ready
	$(VENV)/bin/python tests/demo/run.py

# The oldest libraries have no types to check against, and add nothing to the coverage.
ifneq ($(OLDEST)$(TESTS),)
test: $(VENV)/test-ready
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal $(TESTS)
else
test: $(VENV)/test-ready check
	rm -rf $(COVERAGE) && mkdir -p $(COVERAGE)
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_FILE=$(CURDIR)/$(COVERAGE)/data \
	    $(VENV)/bin/python -m pytest -n 2 --dist worksteal
	COVERAGE_FILE=$(COVERAGE)/data $(VENV)/bin/coverage combine --quiet
	COVERAGE_FILE=$(COVERAGE)/data $(VENV)/bin/coverage report
endif

check: $(VENV)/test-ready
	$(VENV)/bin/ruff format --check --quiet resumed tests packaging
	$(VENV)/bin/ruff check --quiet resumed tests packaging
	$(VENV)/bin/mypy

fix: $(VENV)/test-ready
	$(VENV)/bin/ruff check --fix resumed tests packaging
	$(VENV)/bin/ruff format resumed tests packaging
	$(VENV)/bin/python tests/test_readme.py

proof: $(VENV)/test-ready
	-$(VENV)/bin/python -m pip install --quiet 'atheris>=2.3'
	$(VENV)/bin/python tests/proof/run.py $(if $(PROCESSES),--processes $(PROCESSES))
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal -m slow

bench: $(VENV)/test-ready
	$(VENV)/bin/python tests/bench/run.py $(if $(PEERS),--peers)

# The Debian package, written to dist/; needs debhelper, dh-python and what it depends on.
deb:
	packaging/build-deb.sh

# The package on a real systemd, on two Debian releases; needs root, systemd-nspawn, mmdebstrap.
acceptance: $(VENV)/test-ready
	$(VENV)/bin/python -m pytest tests/systemd -m systemd

clean:
	rm -rf build demo .venv .venv-oldest .coverage *.egg-info
