# The commands of this project. Each installs what it needs first (see tests/setup.sh).
.DEFAULT_GOAL := help
.PHONY: help setup build test lab lab-shell lab-down

# Tests on the lab run as root in namespaces of their own, which go with the sandbox's first process.
IN_SANDBOX := cargo --config 'target."cfg(all())".runner=["$(CURDIR)/tests/lab/sandbox"]'
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
LAB = $(AS_ROOT) "$(or $(CARGO_TARGET_DIR),target)/debug/lab"

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:
	@tests/setup.sh

build: setup
	@cargo build --workspace

test: build ## Run all tests, those on a real OVN node included
	cargo test
	RUST_TEST_THREADS=2 $(IN_SANDBOX) test -p lab

lab: build ## Keep a node with OVN and five Pods up for work by hand
	@$(LAB) up

lab-shell: ## Open a shell on that node
	@$(LAB) exec node

lab-down: ## Remove that node
	@$(LAB) down
