# The settings of a .env hold here, too, unless the environment has others. $(shell) makes spaces of
# the ends of lines, so those within a line have to hide.
space := $(empty) $(empty)
$(foreach setting,$(shell sed -n 's/ /$$(space)/g; s/^\([A-Z_]*\)=/\1?=/p' .env 2>/dev/null),$(eval $(setting)))
export

ifndef COMPOSE
COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
endif

PYTHON ?= python3
TOPIC ?= transactions_agg
MAX ?= 10
TIMEOUT ?= 60
SQL ?= SELECT * FROM aggregated_analytics ORDER BY window_start DESC LIMIT 10

CONSOLE_CONSUMER = --topic $(TOPIC) --from-beginning --max-messages $(MAX) --timeout-ms 10000
BENCH_PATH = tests:tests/integration:tests/browser:local-stack:producer:spark-job:clickhouse-consumer
QUICK_PARTS = start,freshness,footprint,overload,producer,pace,job,consumer
IN_DOCKER = $(COMPOSE) exec -T kafka true >/dev/null 2>&1

.DEFAULT_GOAL := help
.PHONY: help setup doctor demo up down logs local-up local-status local-down query topics verify test test-browser test-compose test-chaos chaos bench bench-quick audit lint format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*## /\t/' | expand -t 16

setup: ## Set up what is missing: .venv, Java, Kafka, ClickHouse
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, and there is no '$(PYTHON)'; name another one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) local-stack/install.py

doctor: ## Say what this machine lacks: ports, Python, Docker, processor, disk, memory
	@$(PYTHON) local-stack/doctor.py

demo: setup ## See it work: run the whole pipeline for DURATION seconds, prove the numbers, stop
	@PYTHONPATH=tests .venv/bin/python local-stack/demo.py

up: ## Start the pipeline in Docker
	@$(COMPOSE) up --build -d

down: ## Stop the pipeline in Docker; its data stays
	@$(COMPOSE) --profile producer down

logs: ## Follow the logs of the pipeline in Docker
	@$(COMPOSE) logs --follow --tail=20

local-up: setup ## Start the pipeline without Docker
	@.venv/bin/python local-stack/stack.py up

local-status: setup ## Show each service of the pipeline without Docker
	@.venv/bin/python local-stack/stack.py status

local-down: setup ## Stop the pipeline without Docker; its data stays
	@.venv/bin/python local-stack/stack.py down

query: ## Ask the running pipeline: make query SQL="SELECT count() FROM aggregated_analytics"
	@$(PYTHON) local-stack/query.py "$(SQL)"

topics: ## Print messages of a topic: make topics TOPIC=transactions_raw MAX=5
	@if $(IN_DOCKER); then \
		$(COMPOSE) exec -T -e KAFKA_HEAP_OPTS=-Xmx128m kafka kafka-console-consumer --bootstrap-server kafka:29092 $(CONSOLE_CONSUMER); \
	else \
		$(MAKE) --no-print-directory setup && .local/tools/java/bin/java -cp 'local-stack/conf:.local/tools/kafka/*' \
			org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server localhost:$${KAFKA_PORT:-9092} $(CONSOLE_CONSUMER); \
	fi

verify: ## Recompute every window from transactions_raw and compare with the table
	@if $(IN_DOCKER); then \
		$(COMPOSE) run --rm -T --no-deps -e WATERMARK="$$WATERMARK" -e DEDUPLICATE_ORDERS="$$DEDUPLICATE_ORDERS" \
			--volume "$(CURDIR)/tests/oracle.py:/app/oracle.py:ro" clickhouse-consumer python oracle.py --timeout $(TIMEOUT); \
	else \
		$(MAKE) --no-print-directory setup && KAFKA_BOOTSTRAP_SERVERS=localhost:$${KAFKA_PORT:-9092} .venv/bin/python tests/oracle.py --timeout $(TIMEOUT); \
	fi

test: setup ## Run the tests, on a stack of their own without Docker
	@.venv/bin/python -m pytest

test-browser: setup ## Run the tests of the live page, in a browser that is installed
	@.venv/bin/python -m pytest tests/browser

test-compose: setup ## Run the tests of docker-compose.yml, on a running Docker
	@COMPOSE="$(COMPOSE)" .venv/bin/python -m pytest tests/compose

chaos: setup ## Kill and freeze every part, prove the numbers: make chaos SEED=1 FAULTS=24 (or MINUTES=60) RATE=200
	@PYTHONPATH=tests:local-stack .venv/bin/python tests/chaos/chaos.py

test-chaos: setup ## Run crashes at chosen moments, a short chaos that must be green, and one unprotected that must be red
	@PYTHONPATH=tests/chaos .venv/bin/python -m pytest tests/chaos tests/integration/crashes

bench: setup ## Measure beside the bare engines, 100 minutes in all: make bench ONLY=producer,consumer
	@PYTHONPATH=$(BENCH_PATH) .venv/bin/python tests/benchmarks/bench.py

bench-quick: setup ## Try the benchmark at small sizes, in 3 minutes
	@QUICK=1 ONLY=$(or $(ONLY),$(QUICK_PARTS)) PYTHONPATH=$(BENCH_PATH) .venv/bin/python tests/benchmarks/bench.py

audit: setup ## Look up known vulnerabilities of the pinned packages (asks PyPI)
	@.venv/bin/python -m venv .local/audit && .local/audit/bin/pip install --quiet pip-audit==2.10.1
	@.local/audit/bin/pip-audit --strict --disable-pip --no-deps $(patsubst %,--requirement %/requirements.txt,producer spark-job clickhouse-consumer local-stack tests)

lint: setup ## Check style and types; changes nothing
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

format: setup ## Put the code into shape
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

clean: ## Delete .venv and .local, after make local-down; Docker's volumes stay
	@rm -rf .venv .local
