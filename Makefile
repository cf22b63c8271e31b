# Everything a person does with this repository, from a clean clone on. Needs make, npm and any Node from 20 on: `setup` puts the Node
# that the project runs under into node_modules.

SHELL := /bin/sh
SYSTEM_PATH := $(PATH)
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
STENO_FUZZ_SECONDS ?= 600
STENO_KILLS ?= 200
TEST_CONCURRENCY ?= 2
TEST_FILES ?= **/*.test.ts
# A test that hangs is a failure. Longer than the longest that runs.
TEST_MILLISECONDS_MAX ?= 300000

# What passed and failed, for `test-again`.
TEST_STATE := .cache/tests.json
RUN_TESTS = node --test --test-concurrency=$(TEST_CONCURRENCY) --test-timeout=$(TEST_MILLISECONDS_MAX) --test-rerun-failures=$(TEST_STATE) --test-reporter=spec '$(TEST_FILES)'

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-again check e2e image manifests bench bench-smoke fuzz kills format clean

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r target text; do printf '%-20s %s\n' "$$target" "$$text"; done

setup: node_modules/.package-lock.json ## Install what the lockfile names, without running install scripts

# npm removes node_modules, and with it the Node there, so it runs under the machine's own.
node_modules/.package-lock.json: package-lock.json
	PATH="$(SYSTEM_PATH)" npm ci --ignore-scripts --include=dev --include=optional --no-audit --no-fund
	@node --eval 'if (Number(process.versions.node.split(".")[0]) < 24) { console.error("steno needs Node 24: npm has none for this platform, install it and run make again"); process.exit(1) }'
	@touch $@

demo: setup ## Start a PostgreSQL, run a scripted agent through steno, show and verify the recording
	node examples/demo.ts

test: setup ## Run all tests, end to end too
	@mkdir -p .cache && rm -f $(TEST_STATE)
	$(RUN_TESTS)

test-again: setup ## Run only what failed in the last `make test`
	$(RUN_TESTS)

check: setup ## Everything else that a change must pass, cheapest first
	tsc --noEmit
	oxlint --type-aware
	oxfmt --check
	knip
	node tools/check-licences.ts
	node tools/check-audit.ts

e2e: setup ## Build image and chart, install them in a cluster (KUBECONFIG, kind, or one of its own) and prove them there
	node e2e/kubernetes/run.ts

image: setup ## Build the container image as dist/steno-image.tar, without a docker daemon
	node tools/image/build.ts

manifests: setup ## Render the chart as plain YAML into dist/steno.yaml; HELM_ARGUMENTS="--set …" as for helm
	@mkdir -p dist
	node tools/chart/manifests.ts $(HELM_ARGUMENTS) > dist/steno.yaml

format: setup ## Rewrite the source in the project's format
	oxfmt

bench: setup ## Measure steno beside a direct connection, a copy loop, HAProxy and PgBouncer
	node bench/run.ts

bench-smoke: setup ## The benchmark in a minute: does it run, and is anything far off?
	node bench/run.ts --smoke

fuzz: setup ## Mutate conversations for STENO_FUZZ_SECONDS and see that no input crashes anything
	STENO_FUZZ_SECONDS=$(STENO_FUZZ_SECONDS) node --test --test-reporter=spec '**/*{fuzz,mutat}*.test.ts'

kills: setup ## Kill the proxy at STENO_KILLS random instants under load and see that nothing is lost
	STENO_KILLS=$(STENO_KILLS) node --test --test-timeout=1800000 --test-reporter=spec e2e/nothing-lost/random-instants.test.ts

clean: ## Remove what was built, fetched and measured, but not node_modules
	rm -rf dist coverage .cache node_modules/.cache
