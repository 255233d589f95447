# Comanda. Two commands are all it takes: `make run`, `make test`.

# The queries are checked against .sqlx/, so that no build needs a database, whatever DATABASE_URL says.
export SQLX_OFFLINE := true

TARGET := $(or $(CARGO_TARGET_DIR),target)
NEXTEST := $(shell command -v cargo-nextest)
# What runs the tests: cargo-nextest where it is installed, each test in a process of its own.
TESTS := $(if $(NEXTEST),cargo nextest run,cargo test)

.PHONY: help run test contract client told oidc dashboards bench loadtest smoke chaos armed crash-points sabotage lint fmt clippy walls doc deny squawk sqlx sqlx-check documents seed
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# By which of cargo's profiles `run` and `chaos` build, and where that lies.
BUILT = $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

# Not optimised: the first build is sooner done. PROFILE=release: as in production.
run: PROFILE := dev
run: ## everything in one process, with a private PostgreSQL below .local/ (or the one that DATABASE_URL names)
	@test -n "$$DATABASE_URL" || scripts/install-postgres
	cargo build --profile $(PROFILE) -p standalone
	@exec $(BUILT)/standalone

test: ## every test, with servers of its own; ARGS="-p api" or a test's name narrows it down
	@scripts/install-postgres
	@scripts/install-rabbitmq
	@scripts/install-pgbouncer
	@# testbed: as for smoke
	cargo build -p servers $(if $(ARGS),,-p testbed)
	$(TARGET)/debug/with-servers -- $(TESTS) $(if $(ARGS),$(ARGS),--workspace)

seed: ## a coffee shop with its first customers and orders, in the database that DATABASE_URL names; a standalone has it from its first start
	cargo run -q -p api -- seed

documents: ## what anybody's documents come to here: DIR=.. DIALECT=deliverect, shopify or woocommerce; CURRENCY=.. where they name none
	@cargo run -q -p domain --example documents -- $(DIR) $(DIALECT) $(CURRENCY)

bench: ## how fast it is, beside the machine's limits, into target/bench; ARGS="--only accept,e2e --runs 1" narrows it down
	@scripts/install-postgres
	@scripts/install-rabbitmq
	cargo build --release -p api -p worker -p follower -p gateway-mock -p standalone -p loadtest
	@sync # what was just built is still on its way to the disk, and each commit would wait behind it
	$(TARGET)/release/loadtest bench --out $(TARGET)/bench $(ARGS)

loadtest: ## k6 against what `make run` or compose started, into target/loadtest; ARGS="--only load" runs one at its full length
	@scripts/install-k6 >/dev/null
	@scripts/install-postgres
	@scripts/install-rabbitmq
	cargo build --release -p loadtest $(PROGRAMS)
	@sync # as in bench
	@# of what `make run` started; another token by COMANDA_TOKEN
	COMANDA_TOKEN=$${COMANDA_TOKEN:-$$(cat .local/manager.token 2>/dev/null || true)} \
		K6=$$(scripts/install-k6) $(TARGET)/release/loadtest k6 --out $(TARGET)/loadtest $(ARGS)

smoke: ## the first of these scripts, against a standalone of its own
	@scripts/install-k6 >/dev/null
	@scripts/install-postgres
	@scripts/install-rabbitmq
	@# testbed: over the dependencies of the tests, so that nothing is compiled twice
	cargo build -p loadtest -p standalone -p testbed
	K6=$$(scripts/install-k6) $(TARGET)/debug/loadtest k6 --only smoke --own --out $(TARGET)/smoke

contract: ## schemathesis holds every answer against openapi.json, once a role, into target/contract; SHORT=1: as CI does
	@scripts/install-postgres
	@scripts/install-rabbitmq
	@scripts/install-schemathesis >/dev/null
	@# testbed: as for smoke
	cargo build -p servers $(PROGRAMS) -p follower -p testbed
	SHORT=$(SHORT) $(TARGET)/debug/with-servers -- scripts/contract

client: ## a client in Python that openapi-generator writes after openapi.json places an order and reads it
	@scripts/install-postgres
	@scripts/install-rabbitmq
	@scripts/install-openapi-generator >/dev/null
	cargo build -p servers $(PROGRAMS) -p testbed
	$(TARGET)/debug/with-servers -- scripts/client

told: ## a verifier of webhooks, a reader of CloudEvents, a client of streams and a mail server that nobody here wrote hear what happens
	@scripts/install-postgres
	@scripts/install-rabbitmq
	@scripts/install-listeners >/dev/null
	cargo build -p servers $(PROGRAMS) -p follower -p testbed
	$(TARGET)/debug/with-servers -- scripts/told

oidc: ## people of an issuer that somebody else wrote log in and order, while its keys change and while it is away
	@scripts/install-postgres
	@scripts/install-oidc-provider >/dev/null
	cargo build -p servers
	OIDC_ISSUER=$$(scripts/install-oidc-provider) $(TARGET)/debug/with-servers --no-rabbitmq -- \
		cargo test -p api -p testbed --test all real_issuer -- --ignored

dashboards: ## prove that every panel and every alert has data, on a Prometheus of its own
	@scripts/install-postgres
	@scripts/install-rabbitmq
	@scripts/install-prometheus
	@scripts/dashboards

# What runs in production, in chaos and in the benchmark.
PROGRAMS := -p api -p worker -p gateway-mock

# The features with which they can be told to die or to have a bug.
CHAOS := api/chaos,worker/chaos,follower/chaos

# PROFILE=dev: the programs that the tests have built already, which bear fewer orders a second.
chaos: PROFILE := release
chaos: ## kill, stop and cut everything while orders arrive, then prove that nothing was lost; ARGS="--seed 7 --orders 20000 --kills 60"
	@scripts/install-postgres
	@scripts/install-rabbitmq
	cargo build --profile $(PROFILE) -p chaos $(PROGRAMS) -p follower
	$(BUILT)/chaos run --report-dir $(TARGET)/chaos $(ARGS)

# Programs that can be told to die or to have a bug, laid aside where nobody takes them for the real ones.
armed:
	@scripts/install-postgres
	@scripts/install-rabbitmq
	cargo build $(PROGRAMS) -p follower --features $(CHAOS)
	@mkdir -p $(TARGET)/armed
	cd $(TARGET)/debug && install api worker follower gateway-mock ../armed
	cargo build -p chaos

crash-points: armed ## let a process die at every named place, and prove the same; ARGS="--hits 1"
	$(TARGET)/debug/chaos crash-points --bin-dir $(TARGET)/armed --report-dir $(TARGET)/chaos $(ARGS)

sabotage: armed ## give the programs one bug after another, and prove that each is noticed; ARGS="--controls"
	$(TARGET)/debug/chaos sabotage --bin-dir $(TARGET)/armed --report-dir $(TARGET)/chaos $(ARGS)

lint: fmt clippy walls doc deny ## what CI asks of the code

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets -- -D warnings
	@# With the crash points and bugs of `make crash-points` and `make sabotage`, which no other step compiles.
	cargo clippy $(PROGRAMS) -p follower --features $(CHAOS) -- -D warnings

walls: ## fail if the gateway or the model can see our tables or our broker
	@scripts/walls

doc:
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps

deny:
	@scripts/deny

squawk: ## lint the migrations for locks, and for what old programs could not bear
	@scripts/squawk

sqlx: ## write .sqlx/ anew, after a change to a query or a migration
	@scripts/install-postgres
	cargo build -p servers
	@$(TARGET)/debug/with-servers --no-rabbitmq -- scripts/sqlx

sqlx-check: ## fail if .sqlx/ is not what `make sqlx` would write
	@scripts/install-postgres
	cargo build -p servers
	@$(TARGET)/debug/with-servers --no-rabbitmq -- scripts/sqlx --check
