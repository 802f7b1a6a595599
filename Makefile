# make demo     runs the whole pipeline on synthetic fields (first installs dependencies into .venv)
# make field    segments the photographs of PHOTOS=DIR with the fields weights (ckpt_pretrained/README.md);
#               OUTPUT=DIR names the folder for results, ARGS=--overwrite replaces what is in it
# make test     runs the tests; ARGS="-k resume" passes arguments to pytest
# make format   formats the code
# make check    checks style, types, import rules, and known vulnerabilities (if they can be looked up)
# make mutants  mutation tests: changes the code in one place and checks that a test fails. MUTANTS=all for
#               every place, MUTANTS=2 for two per file, ARGS="--minutes 30 losses" for those that can be
#               started within half an hour, in the given files only
# make soak     tests training under faults and reading of damaged files; SOAK="--kills 5" for a shorter run
# make lock     writes requirements-lock.txt, with the hash of every package; `make licences` lists their licences
# make clean    removes caches; `make distclean` also removes the environment
#
# PYTHON=python3.13 chooses the interpreter for .venv, WORKERS=4 the number of test processes. `make .venv LOCKED=1`
# installs exactly what requirements-lock.txt lists, and rejects packages whose hash differs.

PYTHON ?= python3
WORKERS ?= 2
MUTANTS ?= 4
VENV := .venv
PY := $(VENV)/bin/python
PIP := PIP_CONSTRAINT=build-constraints.txt PIP_BUILD_CONSTRAINT=build-constraints.txt \
	$(PY) -m pip --disable-pip-version-check install
# An empty stamp file per finished installation, newer than its requirements files.
RUNTIME := $(VENV)/runtime.stamp
DEV := $(VENV)/dev.stamp

.PHONY: demo field test format check mutants soak lock licences clean distclean $(VENV)

DEMO := runs/demo
DEMO_FLAGS := --config recipes/demo.yaml --savedir $(DEMO) --datadir $(DEMO)/fields
demo: $(RUNTIME) $(DEMO)/fields
	$(PY) train/train_teacher.py $(DEMO_FLAGS) --model SegformerB1 --max-steps 400 --pretrained fields
	$(PY) train/train_student.py $(DEMO_FLAGS) --max-steps 200 --run-name student-random-start
	$(PY) train/train_student.py $(DEMO_FLAGS) --max-steps 200 --run-name student --pretrained fields
	$(PY) train/train_sekd.py $(DEMO_FLAGS) --max-steps 200 --run-name sekd --pretrained fields \
		--teacher $(DEMO)/teacher-SegformerB1-Synthetic --teacher-val false
	$(PY) eval/compare.py --output $(DEMO) \
		$(DEMO)/teacher-SegformerB1-Synthetic $(DEMO)/student-random-start \
		$(DEMO)/student $(DEMO)/sekd

$(DEMO)/fields: | $(RUNTIME)
	$(PY) datasets/prepare.py synthetic --output $@ --count 160 32 --seed 0

OUTPUT ?= runs/field
field: $(RUNTIME)
	@test -n "$(PHOTOS)" || { echo "make field: say where the photographs are: make field PHOTOS=DIR" >&2; exit 2; }
	$(PY) eval/predict.py --state fields --input "$(PHOTOS)" --output "$(OUTPUT)" $(ARGS)

test: $(DEV)
	$(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

format: $(DEV)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

check: $(DEV)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy
	$(PY) -m tests.audit

mutants: $(DEV)
	$(PY) -m tests.mutants --count $(MUTANTS) --workers $(WORKERS) $(ARGS)

SOAK ?= --kills 200 --signals 100 --dead-workers 20 --full-disks 30 --two-process 10 --inputs 100000
soak: $(DEV)
	$(PY) -m tests.soak $(SOAK)

LOCK := requirements-lock.txt
lock: $(DEV)
	$(PY) -m uv pip compile requirements.txt --upgrade --universal --python-version 3.11 --generate-hashes \
		--constraints build-constraints.txt --build-constraints build-constraints.txt \
		--no-header --quiet --output-file $(LOCK)

licences: $(DEV)
	sed -i '/^|/d' docs/licences.md
	$(VENV)/bin/pip-licenses --from=mixed --format=markdown --no-version \
		--packages $$(sed -n 's/^\([a-zA-Z0-9._-]*\)==.*/\1/p' $(LOCK)) >> docs/licences.md

$(VENV): $(DEV)

# If runtime versions change, create a new environment, so that nothing of the old one is left.
$(RUNTIME): requirements.txt build-constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=python3.11")'
	@test ! -L $(VENV) || { echo "make: $(VENV) is a link to an environment of another checkout: remove the link" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) $(if $(LOCKED),--require-hashes -r $(LOCK),-r requirements.txt)
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	$(PIP) -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
