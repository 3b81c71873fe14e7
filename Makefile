# The settings of a .env apply here, too, unless the environment sets them. $(shell) turns newlines
# into spaces, so env_file.py writes the characters that make would not leave alone as variables.
space := $(empty) $(empty)
tab := $(empty)	$(empty)
hash := \#
ifneq ($(wildcard .env),)
$(foreach setting,$(shell $(or $(PYTHON),python3) local-stack/env_file.py .env),$(eval $(setting)))
ifndef ENV_FILE_IS_READ # its last setting
$(error cannot read .env)
endif
endif
export

ifndef COMPOSE
COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
endif

PYTHON ?= python3
TOPIC ?= transactions_agg
MAX ?= 10
TIMEOUT ?= 60
CONSUMER ?= clickhouse-consumer
SQL ?= SELECT * FROM aggregated_analytics ORDER BY window_start DESC LIMIT 10

# What each test suite may import is in its pytest.ini: one process per suite.
# The longest ones first, because two run at a time.
UNIT_SUITES = spark-job contract producer clickhouse-consumer local-stack clickhouse-init verify docs benchmarks
COG = -I docs -I local-stack -I tests/support -I tests/chaos -I tests/benchmarks --verbosity=1 docs/*.md README.md CONTRIBUTING.md \
	tests/README.md tests/chaos/README.md tests/benchmarks/README.md
# Not the programs beside it: they do not start in a folder with a $ in its name.
LINT = .local/lint/bin/python -m
BENCH_PATH = local-stack:verify:tests/support:tests/benchmarks
QUICK_PARTS = start,recovery,freshness,processor,footprint,overload,producer,pace,job,consumer
WHERE_KAFKA_IS = KAFKA_BOOTSTRAP_SERVERS="$${KAFKA_BOOTSTRAP_SERVERS:-127.0.0.1:$${KAFKA_PORT:-9092}}"
# Any of the brokers, if there are several.
RUNNING_BROKER = $(COMPOSE) ps --services --filter status=running 2>/dev/null | grep '^kafka' | head -n 1
IN_DOCKER = [ -n "$$($(RUNNING_BROKER))" ]

.DEFAULT_GOAL := help
.PHONY: help setup doctor demo up down logs local-up local-status local-down query topics verify rejected test test-unit test-security test-browser test-compose test-chaos alarms chaos soak release-data bench bench-quick audit docs lint-setup lint format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*## /\t/' | expand -t 16

setup: ## Set up what is missing: .venv, Java, Kafka, ClickHouse
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, and there is no '$(PYTHON)'; choose another Python with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) local-stack/install.py

doctor: ## Say what this machine lacks: ports, Python, Docker, disk, memory
	@$(PYTHON) local-stack/doctor.py

demo: setup ## See it work: run the whole pipeline for DURATION seconds, prove the numbers, stop
	@PYTHONPATH=verify .venv/bin/python local-stack/demo.py

up: ## Start the pipeline in Docker
	@$(COMPOSE) up --build -d

down: ## Stop the pipeline in Docker; its data stays
	@$(COMPOSE) --profile producer down

logs: ## Follow the logs of the pipeline in Docker
	@$(COMPOSE) logs --follow --tail=20

local-up: setup ## Start the pipeline without Docker; SECURE=1: with TLS, logins and rights; CLUSTER=1: three brokers
	@.venv/bin/python local-stack/stack.py up

local-status: setup ## Show each service of the pipeline without Docker
	@.venv/bin/python local-stack/stack.py status

local-down: setup ## Stop the pipeline without Docker; its data stays
	@.venv/bin/python local-stack/stack.py down

# As typed: make would expand a $ in it. What stands in a .env is written for make to expand.
query: override SQL := $(if $(filter file,$(origin SQL)),$(SQL),$(value SQL))
query: ## Ask the running pipeline: make query SQL="SELECT count() FROM aggregated_analytics"
	@$(PYTHON) local-stack/query.py "$$SQL"

topics: ## Print messages of a topic: make topics TOPIC=transactions_raw MAX=5
	@broker=$$($(RUNNING_BROKER)); if [ -n "$$broker" ]; then \
		$(COMPOSE) exec -T "$$broker" kafka-console-consumer --bootstrap-server "$$broker:29092" --topic "$$TOPIC" --from-beginning --max-messages "$$MAX" --timeout-ms 10000; \
	else \
		$(MAKE) --no-print-directory setup && $(WHERE_KAFKA_IS) PYTHONPATH=verify .venv/bin/python local-stack/print_topic.py "$$TOPIC" "$$MAX"; \
	fi

verify: ## Recompute every window from transactions_raw and compare with the table; CONSUMER=...: with its table, in Docker
	@if $(IN_DOCKER); then \
		$(COMPOSE) run --rm -T --no-deps -e WATERMARK="$$WATERMARK" -e DEDUPLICATE_ORDERS="$$DEDUPLICATE_ORDERS" \
			--volume "$(CURDIR)/verify:/app/verify:ro,z" "$$CONSUMER" python verify/verify.py --timeout "$$TIMEOUT"; \
	else \
		$(MAKE) --no-print-directory setup && $(WHERE_KAFKA_IS) CLICKHOUSE_HOST="$${CLICKHOUSE_HOST:-127.0.0.1}" .venv/bin/python verify/verify.py --timeout "$$TIMEOUT"; \
	fi

rejected: ## List rejected and late records: make rejected REASON=late MAX=5 SINCE="10 minutes"
	@if $(IN_DOCKER); then \
		$(COMPOSE) run --rm -T --no-deps -e WATERMARK="$$WATERMARK" -e REASON="$$REASON" -e MAX="$$MAX" -e SINCE="$$SINCE" \
			--volume "$(CURDIR)/verify:/app/verify:ro,z" clickhouse-consumer python verify/rejected.py; \
	else \
		$(MAKE) --no-print-directory setup && $(WHERE_KAFKA_IS) .venv/bin/python verify/rejected.py; \
	fi

test: setup ## Run the tests, on stacks of their own without Docker
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync $(patsubst %,tests/%,integration $(UNIT_SUITES))

test-unit: setup ## Run the tests that need no services, in about a minute
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync PYTEST_OPTIONS='-m "not services"' $(UNIT_SUITES:%=tests/%)

tests/%: FORCE
	@env -u MAKEFLAGS -u MAKELEVEL .venv/bin/python -m pytest $(PYTEST_OPTIONS) $@

FORCE:

test-security: setup ## Run the tests of a Kafka with TLS, logins and rights, on a stack of their own
	@.venv/bin/python -m pytest tests/security

test-browser: setup ## Run the tests of the live page, in a browser that is installed
	@.venv/bin/python -m pytest tests/browser

test-compose: setup ## Run the tests of docker-compose.yml, on a running Docker
	@COMPOSE="$(COMPOSE)" .venv/bin/python -m pytest tests/compose

alarms: setup ## Cause a fault for each alert of monitoring/, and see it fire, on a running Docker: an hour
	@COMPOSE="$(COMPOSE)" PYTHONPATH=tests/compose:tests/support:local-stack .venv/bin/python tests/compose/alarms.py

chaos: setup ## Kill and freeze every service, prove the numbers: make chaos SEED=1 FAULTS=24 (or MINUTES=60) RATE=200; CLUSTER=1: on a cluster
	@PYTHONPATH=verify:local-stack:tests/support:tests/chaos .venv/bin/python tests/chaos/chaos.py

soak: setup ## Three hours at 1,000 records per second with a fault every two minutes: make soak MINUTES=180 SEED=1
	@SCENARIO=soak MINUTES="$${MINUTES:-180}" RATE="$${RATE:-1000}" $(MAKE) --no-print-directory chaos

release-data: setup ## Make the data of the previous release again, on which a test starts today's stack
	@PYTHONPATH=verify:local-stack:tests/support:tests/chaos .venv/bin/python tests/chaos/release_data.py

test-chaos: setup ## Run crashes at chosen moments, a short chaos that must be green, and one unprotected that must be red
	@.venv/bin/python -m pytest tests/chaos

bench: setup ## Measure beside the bare engines, 120 minutes in all: make bench ONLY=producer,consumer
	@PYTHONPATH=$(BENCH_PATH) .venv/bin/python tests/benchmarks/bench.py

bench-quick: setup ## Try the benchmark at small sizes, in 5 minutes
	@QUICK=1 ONLY=$(or $(ONLY),$(QUICK_PARTS)) PYTHONPATH=$(BENCH_PATH) .venv/bin/python tests/benchmarks/bench.py

audit: setup ## Look up known vulnerabilities of the pinned packages (asks PyPI)
	@.venv/bin/python -m venv .local/audit && .local/audit/bin/python -m pip install --quiet pip-audit==2.10.1
	@.local/audit/bin/python -m pip_audit --strict --disable-pip --no-deps $(patsubst %,--requirement %/requirements.txt,producer spark-job clickhouse-consumer local-stack tests)

docs: lint-setup ## Write the tables of the documentation that come from code or results
	@$(LINT) cogapp -r $(COG)

lint: lint-setup ## Check style, types and generated tables; changes nothing
	@$(LINT) ruff check
	@$(LINT) ruff format --check
	@for folder in producer spark-job clickhouse-consumer verify; do \
		(cd $$folder && ../$(LINT) mypy --config-file ../pyproject.toml .) || exit 1; \
	done
	@cd local-stack && MYPYPATH=../verify ../$(LINT) mypy --config-file ../pyproject.toml .
	@$(LINT) cogapp --check --check-fail-msg="run make docs" $(COG)

format: lint-setup ## Format the code
	@$(LINT) ruff check --fix
	@$(LINT) ruff format

lint-setup: ## Set up what make lint needs, a tenth of what the tests need
	@$(PYTHON) local-stack/install.py --lint

clean: ## Delete .venv and .local, after make local-down; Docker's volumes stay
	@rm -rf .venv .local
