# Two commands for a stranger: `make demo` and `make test`. Each sets up .venv first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo test quick lint format bench notebooks docs clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[development]'
	touch $(STAMP)

demo: $(STAMP)
	$(RUN) -m vispa.demo --plot output/demo.png

# Small problems, and a worker a core: more threads only wait for one another.
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: $(STAMP)
	$(RUN) -m pytest -q --numprocesses 2 --dist worksteal

# What a change is tried on while it is written: no processes of their own, no compilers, no trainings to the end.
quick: export OMP_NUM_THREADS = 1
quick: export OPENBLAS_NUM_THREADS = 1
quick: $(STAMP)
	$(RUN) -m pytest -q --numprocesses 2 --dist worksteal -m "not slow"

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(STAMP)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

bench: $(STAMP)
	$(RUN) -m benchmarks.sdp.sdp --output output

notebooks: $(STAMP)
	$(RUN) notebooks/execute.py

# The documentation site, in output/site; every link of it is followed.
docs: $(STAMP)
	$(RUN) -m mkdocs build --strict --quiet --config-file docs/mkdocs.yml
	$(RUN) docs/check_links.py output/site

clean:
	rm -rf $(VENV) build dist output *.egg-info .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
