# Every target is one line; all of them share one release profile and one target folder, so that RocksDB compiles once.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tidings
export CARGO_TARGET_DIR ?= $(CACHE)/target
CARGO_ALL := --release --workspace --locked
TARGET ?= objects
SECONDS ?= 60
FROM ?= 0
CUTS ?= 2000
TO ?= 1000
ROUNDS ?= 10000
KILL_EVIDENCE = TIDINGS_KILL_ROUNDS=$(ROUNDS) TIDINGS_KILL_EVIDENCE=docs/evidence/kill-lab.json TIDINGS_KILL_COMMIT=$$(git rev-parse --short HEAD)

.PHONY: help demo test compile-tests build lint fmt docs sim kill-lab setup clean-demo clean power-lab network-lab fault-lab store-lab fuzz bench counts bench-peers

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: build ## build, then show a broker, an owner and a reader on this machine
	"$(CARGO_TARGET_DIR)/release/tidings" demo

test: setup ## run every test
	cargo test $(CARGO_ALL)

compile-tests: setup ## compile the tests without running them
	cargo test $(CARGO_ALL) --no-run

build: setup ## build the command: $CARGO_TARGET_DIR/release/tidings
	cargo build $(CARGO_ALL)

lint: setup ## formatting and lints, warnings denied
	cargo fmt --all --check && cargo clippy $(CARGO_ALL) --all-targets -- -D warnings

fmt: ## format everything
	cargo fmt --all

docs: setup ## API documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_ALL) --no-deps

network-lab: setup ## measure what networks do to it, a quarter of an hour; docs/evidence/network-lab.json
	cargo test $(CARGO_ALL) --test network -- --include-ignored --nocapture --test-threads 1

sim: setup ## simulate the seeds FROM=0 up to TO=1000
	TIDINGS_SIM_FROM=$(FROM) TIDINGS_SIM_TO=$(TO) cargo test $(CARGO_ALL) --test sim -- --nocapture

kill-lab: setup ## kill broker, owner and reader until ROUNDS=10000 are done, those of docs/evidence/kill-lab.json counted
	$(KILL_EVIDENCE) cargo test $(CARGO_ALL) --test kill -- --nocapture whoever_is_killed

power-lab: setup ## cut the power until docs/evidence/power-lab.json counts CUTS=2000
	TIDINGS_POWER_CUTS=$(CUTS) cargo test $(CARGO_ALL) --test power -- --ignored --nocapture as_many_power_cuts

fault-lab: setup ## fail every write and sync of the command once, and keep the figures
	TIDINGS_FAULTS_ALL=1 TIDINGS_FAULTS_EVIDENCE=docs/evidence/fault-lab.json cargo test $(CARGO_ALL) --test faults sweep -- --nocapture --test-threads=1

store-lab: setup ## measure the store on this disk; FULL=1 takes hours and 60 GB; docs/evidence/store.json, commit-cost.json
	TIDINGS_STORE_EVIDENCE=$(CURDIR)/docs/evidence/store.json TIDINGS_COST_EVIDENCE=$(CURDIR)/docs/evidence/commit-cost.json cargo test $(CARGO_ALL) --lib --test store -- --ignored --nocapture --test-threads 1 store::

fuzz: ## fuzz TARGET=objects (frames, reader, broker, rewinds) for SECONDS=60; needs cargo-fuzz and a nightly toolchain
	mkdir -p "$(CACHE)/fuzz/$(TARGET)" && cargo +nightly fuzz run --fuzz-dir fuzz/libfuzzer --target-dir "$(CARGO_TARGET_DIR)-fuzz" $(TARGET) "$(CACHE)/fuzz/$(TARGET)" fuzz/corpus/$(TARGET) -- -max_total_time=$(SECONDS) -max_len=16384 -malloc_limit_mb=64

bench: setup ## time the small parts, about two minutes when compiled; docs/performance.md
	cargo bench --workspace --locked $(addprefix --bench ,entry set_hash head delta frames engine store)

counts: setup ## accept the instructions that the main paths take now as the marks of the guard; benches/counts.json
	TIDINGS_COUNTS_ACCEPT=1 cargo test $(CARGO_ALL) --test guard -- --nocapture the_main_paths

bench-peers: build ## measure NATS JetStream and Redis Streams beside this broker, 40 minutes; QUICK=1 for two, FULL=1, ONLY=publish,live
	benches/peers/run.sh

setup: ## install what a fresh Debian with Rust lacks, only if it is missing
	@.ci/setup

clean-demo: ## remove what the demo left behind
	rm -rf "$(CACHE)/demo"

clean: ## remove the shared target folder, RocksDB included
	rm -rf "$(CARGO_TARGET_DIR)"
