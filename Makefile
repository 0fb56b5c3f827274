# Two commands do everything on a fresh machine: `make demo` and `make test`. Both install what they need into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# FBGEMM has one build for machines with an NVIDIA driver and one for all others. Each lock has every extra.
FLAVOUR := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
LOCK := deploy/locks/$(FLAVOUR).txt
STAMP := .venv/.installed-$(FLAVOUR)
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## Create .venv with every extra from the hash-pinned lock (does nothing when it is current)

$(STAMP): $(LOCK) deploy/locks/tools.txt pyproject.toml deploy/fbgemm-gpu-cpu/pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {v}; name another with make PYTHON=python3.12")'
	@echo "Installing for $(FLAVOUR) into .venv (about a minute, 7 GB: PyTorch brings its GPU libraries along) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/locks/tools.txt
	@$(UV) --compile-bytecode --no-deps --require-hashes -r $(LOCK)
	@if [ $(FLAVOUR) = cpu ]; then $(UV) --no-deps --no-build-isolation ./deploy/fbgemm-gpu-cpu; fi
	@$(UV) --no-deps --no-build-isolation --editable .
	@echo "Compiling the loops that Python would be too slow for, once, into a cache (half a minute) ..."
	@$(BIN)/python -m embedding.local.warm
	@$(BIN)/python -m streaming.warm
	@$(BIN)/python -m serving.warm
	@rm -f .venv/.installed-*; touch $@

demo: install  ## Ingest a real log, learn from it online, serve it, and watch a ranking change (KEEP=1 stays up)
	@$(BIN)/recsys demo $(if $(KEEP),--keep)

# The tests of a file run in one process, those of some folders too (tests/together.py): what they train or start together
# is done once. tests/conftest.py puts the files in order. One process more than two cores can take, since many wait for others that they started.
unexport PYTHONDONTWRITEBYTECODE  # every process that tests start would compile what it imports
TESTS := $(BIN)/python -m pytest -n $(or $(JOBS),3) --dist loadfile --no-loadscope-reorder

test: install  ## Run all tests
	@$(TESTS)

test-fast: install  ## Run the tests that are not marked as slow
	@$(TESTS) -m "not slow"

kafka: install  ## Start a real Kafka on 127.0.0.1:9092 (Java 17 and Maven; PORT=... for another port)
	@$(BIN)/python deploy/kafka/broker.py $(PORT)

lint: install  ## Style, types and import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

# In an environment of its own, since nothing else needs its packages.
SBOM := build/sbom

sbom: install  ## Write build/sbom/*.cdx.json: what is installed of others, in the format of CycloneDX
	@test -x $(SBOM)/tools/bin/python || $(PYTHON) -m venv --without-pip $(SBOM)/tools
	@$(BIN)/uv pip install --quiet --python $(SBOM)/tools/bin/python --no-deps --require-hashes -r deploy/locks/sbom.txt
	@for lock in serving cpu gpu; do \
	  $(SBOM)/tools/bin/python -W ignore -m cyclonedx_py requirements deploy/locks/$$lock.txt --pyproject pyproject.toml \
	    --output-reproducible --output-file $(SBOM)/$$lock.cdx.json; \
	  echo "$(SBOM)/$$lock.cdx.json: $$(grep -c '"purl"' $(SBOM)/$$lock.cdx.json) packages"; \
	done

# Compares with the advisories that the package index publishes. One that it knows nothing of is a failure, too.
audit: install  ## Compare the locked packages with the known vulnerabilities (needs the index's advisories; AUDIT=... for pip-audit)
	@test -x build/audit/bin/python || $(PYTHON) -m venv --without-pip build/audit
	@$(BIN)/uv pip install --quiet --python build/audit/bin/python --no-deps --require-hashes -r deploy/locks/audit.txt
	@for lock in serving $(FLAVOUR); do \
	  build/audit/bin/pip-audit --strict --disable-pip --require-hashes -r deploy/locks/$$lock.txt $(AUDIT); \
	done

# The same for the site of the documentation.
docs: install  ## Write build/docs/site/index.html: the documentation with its references, searchable without a network
	@test -x build/docs/tools/bin/python || $(PYTHON) -m venv --without-pip build/docs/tools
	@$(BIN)/uv pip install --quiet --python build/docs/tools/bin/python --no-deps --require-hashes -r deploy/locks/docs.txt
	@$(BIN)/python deploy/docs/pages.py build/docs/pages
	@NO_MKDOCS_2_WARNING=1 build/docs/tools/bin/mkdocs build --quiet --config-file deploy/docs/mkdocs.yml
	@echo "build/docs/site/index.html: $$(find build/docs/site -name '*.html' | wc -l) pages"

lock:  ## Write the lock files anew (needs uv on the PATH)
	@deploy/locks/compile.sh

clean:  ## Remove .venv and everything that runs have written
	@rm -rf .venv run build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help install demo test test-fast kafka lint sbom audit docs lock clean
