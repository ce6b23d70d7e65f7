# Every target sets up what it needs; `make` alone lists the targets.
SHELL := /bin/bash -o pipefail
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo
# Shows the current package; pip itself is either silent or prints a thousand lines.
# Not with awk, because Debian's reads 4 KB at a time.
PROGRESS := 2>&1 | { n=0; while read -r line; do case "$$line" in \
  Collecting*) name=$${line\#Collecting }; printf '\r  %3d packages: %-44.44s' $$((++n)) "$$name" ;; \
  "Installing collected"*) printf '\r  %d packages found; unpacking them takes about a minute%-8s\n' $$n "" ;; \
  *ERROR*|*error:*) printf '%s\n' "$$line" ;; \
  esac; done; echo; }
# One more than the cores, but at most 4, because many tests mostly wait; each worker takes 700 MB.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n + 1 : 4)))
SCALE_STAMP := $(VENV)/.installed-scale
SITE_VENV := .venv-docs

# Tests start Python many times, in workers and as programs, so keep the compiled files.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-scale bench-scale demo test lint format ci lock clean replay-real site docs messages dashboards gallery dashboards-gallery fuzz fuzz-http attack golden fault soak bench-ingest bench-steady bench-simulate bench-series bench-dashboards bench-decode bench-detector-speed bench-reports bench-district size train wheel wheel-demo audit sbom

help: ## show this help
	@echo "Plumewatch: what 'make' can do"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Plumewatch needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Cannot make a virtual environment; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 2; }

# Sensirion's VOC index has to be compiled; the simulator's port is slower, with equal results.
WITH_COMPILER = @$(1)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-sim.lock >/dev/null 2>&1 || \
  echo "  No C compiler with Python's headers (Debian: gcc, python3-dev): simulations take longer, but all else is the same"

$(STAMP): requirements.lock requirements-sim.lock pyproject.toml | $(BIN)/python
	@echo "Installing the development tools into $(VENV), once: 450 MB, a few minutes"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-compile -r requirements.lock $(PROGRESS)
	$(call WITH_COMPILER,$(VENV))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@ $(DEMO_STAMP)

# The demo needs neither test tools nor type checkers. pip checks hashes for all packages or none, and
# this folder has none, so only the versions are taken from the lock file.
$(DEMO_STAMP): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the service and its demo into $(VENV), once: 200 MB to fetch, a minute or two"
	@sed -n '/==/s/ *\\$$//p' requirements.lock > $(VENV)/versions.txt
	@$(BIN)/python -m pip install --disable-pip-version-check -c $(VENV)/versions.txt --editable '.[demo]' $(PROGRESS)
	@touch $@

$(SCALE_STAMP): $(STAMP) requirements-scale.lock
	@echo "Installing Spark into $(VENV) (once, 450 MB) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-scale.lock
	@touch $@

setup-scale: $(SCALE_STAMP) ## add Spark to the environment, for scale/ and its tests; needs Java 17 or 21

setup: $(STAMP) ## create the environment in .venv from the lock file

demo: $(DEMO_STAMP) ## run a simulated school, broker, detector, alerts and staff page on this machine; ARGS="--keep FOLDER"
	@$(BIN)/plumewatch demo $(ARGS)

test: $(STAMP) ## run all tests (broker and browser tests only if those programs are installed)
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS)

lint: $(STAMP) ## run ruff and mypy --strict, and check the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## sort imports and format the code with ruff
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

ci: lint site test replay-real ## run lint, site, tests and replays, as CI does
	@$(MAKE) --no-print-directory -C research smoke

replay-real: $(STAMP) ## replay the real recordings in ../shared/data and print what would have alerted
	@$(MAKE) --no-print-directory -C research $@

train: ## train the detector's model; for more targets: make -C research
	@$(MAKE) --no-print-directory -C research $@

$(SITE_VENV)/.installed: requirements-docs.lock
	@test -x $(SITE_VENV)/bin/python || $(PYTHON) -m venv $(SITE_VENV)
	@$(SITE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-docs.lock
	@touch $@

site: $(SITE_VENV)/.installed ## build the documentation into build/site, and check links and anchors
	@$(SITE_VENV)/bin/python docs/site/links.py
	@NO_MKDOCS_2_WARNING=1 $(SITE_VENV)/bin/mkdocs build --strict
	@echo "build/site/index.html"

docs: $(STAMP) ## update the tables in the documentation that are generated from code
	@$(BIN)/python -m docs.make_tables

messages: $(STAMP) ## collect the messages of pages, notices and reports into the catalogs
	@$(BIN)/python -m language.catalog

dashboards: $(STAMP) ## write the JSON files of the Grafana dashboards
	@$(BIN)/plumewatch dashboards build --out dashboards/json

gallery: $(STAMP) ## take pictures of page, push and report with a made-up school (Chromium; a minute)
	@$(BIN)/python -m docs.gallery.make_shots

dashboards-gallery: $(STAMP) ## draw whole dashboards with @grafana/scenes (npm, 470 MB once; a few minutes)
	@$(BIN)/python -m docs.gallery.make_gallery $(ARGS)

size: $(STAMP) ## count lines of code by folder and language, TOML files, and files from a reading to a push
	@$(BIN)/python benchmarks/size.py
	@$(BIN)/python benchmarks/reading_to_push.py $(ARGS)

fuzz: $(STAMP) ## run a million mutated payloads through all decoders and mappings; COUNT=50000 SEED=7
	@seed=$${SEED:-$$RANDOM}; echo "seed $$seed"; \
	  PLUMEWATCH_FUZZ=$${COUNT:-1000000} PLUMEWATCH_FUZZ_SEED=$$seed $(BIN)/python -m pytest \
	    --numprocesses $(WORKERS) tests/property/test_decoder_fuzz.py tests/property/test_mapping_fuzz.py

fuzz-http: $(STAMP) ## send generated requests to every route of page, API and HTTP ingest; EXAMPLES=500
	@FUZZ_EXAMPLES=$${EXAMPLES:-100} $(BIN)/python -m pytest tests/unit/alerts/test_page_api.py --timeout 7200

attack: $(STAMP) ## try attacks on loopback: accounts, floods, forged devices, files, requests; takes minutes
	@$(BIN)/python -m pytest -m attack --numprocesses $(WORKERS) tests

golden: $(STAMP) ## show how replays differ from the golden cases; WRITE=1 updates the cases
	@$(BIN)/python tests/golden/make_cases.py $(if $(WRITE),--write)

fault: $(STAMP) ## test kills, power cuts, disk, network, broker, database and clock; short version, takes minutes
	@$(BIN)/python -m pytest tests/fault tests/property/test_journal_machine.py --durations=5 \
	  --hypothesis-profile=others

soak: $(STAMP) ## 200 random kills, a day of the fleet's messages in the broker, then random faults; MINUTES=60 SEED=7 STORE=InfluxDB
	@seed=$${SEED:-$$RANDOM}; echo "seed $$seed"; \
	  FAULT_KILLS=200 FAULT_LONG=1 $(BIN)/python -m pytest --randomly-seed=$$seed \
	    tests/fault/test_crash_points.py tests/fault/test_shipped_broker.py && \
	  $(BIN)/python -m tests.support.soak --seed $$seed --minutes $${MINUTES:-60} --store $${STORE:-SQLite} $(ARGS)

bench-ingest: $(STAMP) ## measure the sustained rate from Mosquitto through journal, detector and series; ARGS="--rates 2000 4000"
	@$(BIN)/python benchmarks/ingest_rate.py $(ARGS)

bench-steady: $(STAMP) ## measure rate, memory and delay with a full journal, without series, and during backup, report, retention and page views
	@$(BIN)/python benchmarks/steady.py $(ARGS)

bench-simulate: $(STAMP) ## measure the simulator in sensor-days per second
	@$(BIN)/python benchmarks/simulate.py

bench-series: $(STAMP) ## measure encoding, writes and queries of the time-series stores
	@$(BIN)/python benchmarks/series_stores.py $(ARGS)

bench-dashboards: $(STAMP) ## measure the dashboards' load on InfluxDB with 100 rooms and 90 days; ARGS="--rooms 10 --days 7"
	@$(BIN)/python benchmarks/dashboard_cost.py $(ARGS)

bench-decode: $(STAMP) ## measure every decoder in messages per second
	@$(BIN)/python benchmarks/decode.py

bench-detector-speed: $(STAMP) ## measure the detector in readings per second, with 1 to 100,000 sensors
	@$(BIN)/python benchmarks/detector_speed.py

bench-reports: $(STAMP) ## measure time and memory of reports on a school year of 200 sensors
	@$(BIN)/python benchmarks/report_speed.py $(ARGS)

bench-district: $(STAMP) ## measure 40 schools in one installation: pages, reports, load; ARGS=--quick is shorter
	@$(BIN)/python benchmarks/district.py $(ARGS)

bench-scale: $(SCALE_STAMP) ## measure the stream on Spark; ARGS="--sensors 200000"
	@$(BIN)/python benchmarks/scale_out.py $(ARGS)

audit: $(STAMP) ## list known vulnerabilities in the locked packages; an unreachable index is not an error
	@mkdir -p build
	@$(BIN)/pip-audit --requirement requirements.lock --no-deps --disable-pip --progress-spinner off >build/audit.txt 2>&1; \
	  found=$$?; tail -n 5 build/audit.txt; [ $$found = 0 ] || ! grep -q "^Found " build/audit.txt

wheel: $(STAMP) ## build the wheel into build/wheel; repeated builds are identical
	@rm -rf build/wheel && $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	@ls build/wheel/*.whl

wheel-demo: wheel ## install the wheel into an empty environment and run its demo
	@rm -rf build/empty && $(PYTHON) -m venv build/empty
	@sed -n '/==/s/ *\\$$//p' requirements.lock > build/empty/versions.txt
	@build/empty/bin/pip install --quiet --disable-pip-version-check --no-compile -c build/empty/versions.txt "$$(echo build/wheel/*.whl)[demo]"
	@cd build/empty && bin/plumewatch demo --port 8431 --seconds 20 | tee demo.txt && grep -q '^demo ended: [1-9]' demo.txt

sbom: $(STAMP) ## write the list of an installation's packages (CycloneDX) into build/sbom.json
	@mkdir -p build
	@$(BIN)/cyclonedx-py requirements requirements-run.lock --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json

# With the hashes of all files that the index has for a version, so that pip accepts no others.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate --no-emit-index-url

lock: $(STAMP) ## resolve pyproject.toml into the lock files, for Python 3.11 and newer
	@$(BIN)/python -m pip install --quiet uv
	@$(COMPILE) --extra dev pyproject.toml -o requirements.lock
	@$(COMPILE) --extra dashboards --extra oidc --extra webpush -c requirements.lock pyproject.toml -o requirements-run.lock
	@$(COMPILE) --extra scale -c requirements.lock pyproject.toml -o requirements-scale.lock
	@$(COMPILE) --group build -c requirements.lock -o requirements-build.lock
	@$(COMPILE) --group sim -o requirements-sim.lock
	@$(COMPILE) --group docs -o requirements-docs.lock

clean: ## remove the environments, and the output of builds and the demo
	@rm -rf $(VENV) $(SITE_VENV) .venv-train build demo-data .mypy_cache .ruff_cache .pytest_cache .hypothesis
