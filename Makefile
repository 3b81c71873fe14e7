PYTHON ?= python3
TOPIC ?= transactions_agg
MAX ?= 10

.DEFAULT_GOAL := help
.PHONY: help setup demo local-up local-status local-down topics verify test lint format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## Set up what is missing: .venv, Java, Kafka, ClickHouse
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, and there is no '$(PYTHON)'; name another one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) local-stack/install.py

local-up: setup ## Start the pipeline without Docker
	@.venv/bin/python local-stack/stack.py up

local-status: setup ## Show each service of the running pipeline
	@.venv/bin/python local-stack/stack.py status

local-down: setup ## Stop the pipeline; its data stays
	@.venv/bin/python local-stack/stack.py down

topics: setup ## Print messages of a topic: make topics TOPIC=transactions_raw MAX=5
	@.local/tools/java/bin/java -cp 'local-stack/conf:.local/tools/kafka/*' org.apache.kafka.tools.consumer.ConsoleConsumer \
		--bootstrap-server localhost:$${KAFKA_PORT:-9092} --topic $(TOPIC) --from-beginning --max-messages $(MAX) --timeout-ms 5000

demo: setup ## See it work: run the whole pipeline for DURATION seconds, prove the numbers, stop
	@PYTHONPATH=tests .venv/bin/python local-stack/demo.py

verify: setup ## Recompute every window from transactions_raw and compare with the table
	@KAFKA_BOOTSTRAP_SERVERS=localhost:$${KAFKA_PORT:-9092} .venv/bin/python tests/oracle.py

test: setup ## Run all tests, on a stack of their own
	@.venv/bin/python -m pytest

lint: setup ## Check style and types; changes nothing
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

format: setup ## Put the code into shape
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

clean: ## Remove everything that was set up or stored, but not what runs
	@rm -rf .venv .local
