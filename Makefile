# The commands of this project. Each installs what it needs first (see tests/setup.sh).
.DEFAULT_GOAL := help
.PHONY: help setup build lab-programs demo test test-compat bench bench-scale bench-cost bench-faults bench-mirror bench-mirror-userspace bench-mirror-kernel mirror-programs lab lab-shell lab-down

AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
TARGET := $(or $(CARGO_TARGET_DIR),target)
LAB = $(AS_ROOT) "$(TARGET)/debug/lab"

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:
	@tests/setup.sh

build: setup
	@cargo build --workspace

# The demo and the lab need neither benchmarks nor tests.
lab-programs: setup
	@echo "compiling ofmirror and the lab, which takes minutes the first time"
	@cargo build -p ofmirror -p lab

demo: lab-programs ## Show what ofmirror does, on a node with OVN that comes and goes; takes a minute, and minutes more the first time, to compile
	@tests/lab/sandbox "$(TARGET)/debug/lab" demo

test: build ## Run all tests, those on a real OVN node and a real Kubernetes API server included; takes half an hour, and longer the first time
	@tests/run-all

test-compat: build ## Run the core tests on the Open vSwitch and OVN of Debian's next suites too
	@tests/compat/run
	@tests/compat/no-service-enabled

bench: setup ## Measure how soon, how fast and how small; takes minutes, most of them for the release build
	@cargo build --release -p ofmirror -p lab
	@cargo bench -q -p flows --bench plan -- 10000 > "$(TARGET)/plan-and-diff.txt"
	@assets=$$(tests/kubernetes/binaries) && export KUBEBUILDER_ASSETS=$$assets; \
	tests/lab/sandbox "$(TARGET)/release/lab" bench --plan-and-diff "$(TARGET)/plan-and-diff.txt"

bench-scale: setup ## Measure what one change costs among ten ports and among thousands; takes 40 minutes
	@cargo build --release -p ofmirror -p lab
	@LAB_PATIENCE=10 tests/lab/sandbox "$(TARGET)/release/lab" scale

bench-cost: setup ## Measure what a packet costs, copied or not, on both datapaths; takes half an hour and more
	@cargo build --release -p ofmirror -p lab
	@tests/lab/sandbox "$(TARGET)/release/lab" cost --json "$(TARGET)/cost-netdev.json"
	@tests/kernel/run-in-guest --backend uml --memory 1024 --seconds 2400 --share "$(TARGET)" \
	tests/lab/sandbox "$(abspath $(TARGET))/release/lab" cost --datapath system --json /share/cost-system.json

bench-faults: lab-programs ## Compare what 35 faults cost Pods with an agent and without, and what becomes of copies; takes 15 minutes
	@tests/lab/sandbox "$(TARGET)/debug/lab" faults --json "$(TARGET)/faults.json" $(OPTIONS)

bench-mirror: bench-mirror-userspace bench-mirror-kernel ## Compare what mirroring costs with off and with OVS's Mirror; takes 100 minutes, with OPTIONS=--quick 15

mirror-programs: setup
	@tests/setup.sh qperf:qperf wrk:wrk nginx:nginx-light
	@cargo build --release -p ofmirror -p bench-mirror

bench-mirror-userspace: mirror-programs # only on the userspace datapath
	@tests/lab/sandbox "$(TARGET)/release/bench-mirror" --out "$(TARGET)/bench-mirror/userspace" $(OPTIONS)

bench-mirror-kernel: mirror-programs # only on the kernel's datapath, in a guest
	@mkdir -p "$(TARGET)/bench-mirror/kernel"
	@tests/kernel/run-in-guest --backend uml --memory 3072 --seconds 7200 --share "$(TARGET)/bench-mirror/kernel" \
	env LAB_DATAPATH=system LAB_PATIENCE=5 tests/lab/sandbox "$(abspath $(TARGET))/release/bench-mirror" --out /share $(OPTIONS)
	@echo "that is $(TARGET)/bench-mirror/kernel/report.md"

lab: lab-programs ## Keep a node with OVN and five Pods up for work by hand
	@$(LAB) up

lab-shell: ## Open a shell on that node
	@$(LAB) exec node

lab-down: ## Remove that node
	@$(LAB) down
