# `make` alone lists what there is.
.DEFAULT_GOAL := help
.PHONY: help run test format chaos bench build setup audit fuzz
env = . scripts/env.sh &&

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

run: ## build and serve on http://127.0.0.1:8080 with ./data (an empty one gets an example)
	@scripts/setup run
	@$(env) cargo run --locked -- serve

test: ## everything that must hold: format, lints with and without AWS, documentation, licences, all tests with real servers
	@.ci/run

format: ## format every source file
	@scripts/format

chaos: ## kill Headroom at every journal boundary of every kind and at every call to EC2, with and without faults; writes the table of docs/reliability.md
	@scripts/setup test
	@$(env) HEADROOM_CHAOS_TABLE="$${HEADROOM_CHAOS_TABLE:-$$PWD/chaos.md}" cargo nextest run --locked --test integration --run-ignored only -E 'test(ec2::matrix::the_whole_matrix)' --no-capture
	@echo "the table is in $${HEADROOM_CHAOS_TABLE:-chaos.md}"

bench: ## measure side by side with the alternatives; writes bench/results/
	@scripts/setup bench
	@bench/run

build: ## the optimised binary; prints where it is
	@scripts/setup run
	@$(env) cargo build --locked --release && ls -lh "$$CARGO_TARGET_DIR/release/headroom"

setup: ## install what tests and benchmarks need (lists it and asks first)
	@scripts/setup all

fuzz: ## feed the reader of JMX replies with damaged ones for FUZZ_SECS seconds (300)
	@scripts/setup fuzz
	@scripts/fuzz

audit: ## known vulnerabilities in the crates used (asks the advisory database over the network)
	@scripts/setup test
	@$(env) cargo deny check advisories
