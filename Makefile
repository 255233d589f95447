# Comanda. Two commands are all it takes: `make run`, `make test`.

# The queries are checked against .sqlx/, so that no build needs a database, whatever DATABASE_URL says.
export SQLX_OFFLINE := true

TARGET := $(or $(CARGO_TARGET_DIR),target)
NEXTEST := $(shell command -v cargo-nextest)
# What runs the tests: cargo-nextest where it is installed, each test in a process of its own.
TESTS := $(if $(NEXTEST),cargo nextest run,cargo test)

.PHONY: help run test dashboards bench lint fmt clippy doc deny sqlx sqlx-check
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: ## everything in one process, with a private PostgreSQL below .local/ (or the one that DATABASE_URL names)
	@test -n "$$DATABASE_URL" || scripts/install-postgres
	cargo build --release -p standalone
	@exec $(TARGET)/release/standalone

test: ## every test, with servers of its own; ARGS="-p api" or a test's name narrows it down
	@scripts/install-postgres
	@scripts/install-rabbitmq
	cargo build -p servers
	$(TARGET)/debug/with-servers -- $(TESTS) $(if $(ARGS),$(ARGS),--workspace)

bench: ## how fast it is, beside the machine's limits, into target/bench; ARGS="--only accept,e2e --runs 1" narrows it down
	@scripts/install-postgres
	@scripts/install-rabbitmq
	cargo build --release -p api -p worker -p gateway-mock -p standalone -p loadtest
	$(TARGET)/release/loadtest bench --out $(TARGET)/bench $(ARGS)

dashboards: ## prove that every panel and every alert has data, on a Prometheus of its own
	@scripts/install-postgres
	@scripts/install-rabbitmq
	@scripts/install-prometheus
	@scripts/dashboards

lint: fmt clippy doc deny ## what CI asks of the code

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps

deny:
	@scripts/deny

sqlx: ## write .sqlx/ anew, after a change to a query or a migration
	@scripts/install-postgres
	cargo build -p servers
	@$(TARGET)/debug/with-servers --no-rabbitmq -- scripts/sqlx

sqlx-check: ## fail if .sqlx/ is not what `make sqlx` would write
	@scripts/install-postgres
	cargo build -p servers
	@$(TARGET)/debug/with-servers --no-rabbitmq -- scripts/sqlx --check
