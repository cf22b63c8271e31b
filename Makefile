# Everything a person does with this repository, from a clean clone on. Needs make, npm and any Node from 20 on: `setup` puts the Node
# that the project runs under into node_modules.

SHELL := /bin/sh
SYSTEM_PATH := $(PATH)
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
STENO_FUZZ_SECONDS ?= 600
STENO_KILLS ?= 200
STENO_CONVERSATIONS ?= 150
# Tests also wait, so one more than the cores that they are timed on.
TEST_CONCURRENCY ?= 3
# Those of e2e/kubernetes want a cluster with steno in it, which `make e2e` makes; `make kills` and `make fuzz` run what they are named after.
SLOW_TEST_FILES := ./docs/commands.test.ts ./e2e/failures/agents.test.ts ./e2e/memory/memory.test.ts ./e2e/pod/lifecycle.test.ts ./e2e/replay/million.test.ts \
  ./e2e/rerun/against.test.ts ./e2e/run/programs.test.ts ./e2e/search/size.test.ts ./e2e/stored/received-is-stored.test.ts ./e2e/traces/endpoint-fails.test.ts
# Of `make test`, but with a third of the random conversations.
LONGER_TEST_FILES := ./e2e/notices-nothing/notices-nothing.test.ts
OTHER_TEST_FILES := ./e2e/nothing-lost/random-instants.test.ts ./e2e/fuzz/mutator.test.ts
FOUND_TEST_FILES = $(shell find . -name node_modules -prune -o -path ./.cache -prune -o -path ./dist -prune -o -path ./e2e/kubernetes -prune -o -name '*.test.ts' -print | sort)
TEST_FILES ?= $(filter-out $(SLOW_TEST_FILES) $(OTHER_TEST_FILES),$(FOUND_TEST_FILES))
# A test that hangs is a failure. Longer than the longest that runs.
TEST_MILLISECONDS_MAX ?= 600000

# A line for each test that failed in `make test`, with its file and why: for its end, and for `test-again`.
FAILED_TESTS := .cache/failed-tests
# Compiled code is kept between the hundreds of processes that the tests are, in the folder where bin/steno keeps it.
NODE_TEST = NODE_COMPILE_CACHE=$(CURDIR)/node_modules/.cache/steno node --test --test-concurrency=$(TEST_CONCURRENCY) --test-timeout=$(TEST_MILLISECONDS_MAX)
report_in = --test-reporter=spec --test-reporter-destination=stdout --test-reporter=./tools/failed-tests.ts --test-reporter-destination=$(1)
tell_failed_in = { code=$$?; sed 's/^/failed: /' $(1) >&2; exit $$code; }

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-again test-slow check e2e image manifests bench bench-smoke fuzz kills format clean

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r target text; do printf '%-20s %s\n' "$$target" "$$text"; done

setup: node_modules/.package-lock.json ## Install what the lockfile names, without running install scripts

# npm removes node_modules, and with it the Node there, so it runs under the machine's own. It warns of each package that asks for a later
# Node than that one, which is not the one that runs them: npm cannot be told so, and these lines alone are left out of what it says.
node_modules/.package-lock.json: package-lock.json
	@echo 'npm ci --ignore-scripts --include=dev --include=optional'
	@mkdir -p .cache; { PATH="$(SYSTEM_PATH)" npm ci --ignore-scripts --include=dev --include=optional --no-audit --no-fund --no-update-notifier 2>&1; echo $$? > .cache/npm-exit; } | sed -E '/^npm (warn|WARN) EBADENGINE/d'; exit "$$(cat .cache/npm-exit)"
	@node --eval 'if (Number(process.versions.node.split(".")[0]) < 24) { console.error("steno needs Node 24: npm has none for this platform, install it and run make again"); process.exit(1) }'
	@touch $@

demo: setup ## Start a PostgreSQL, run a scripted agent through steno, show and verify the recording
	node examples/demo.ts

test: setup ## Run all tests that need no cluster, end to end too, but for those of test-slow, kills and fuzz
	@mkdir -p .cache && rm -f $(FAILED_TESTS)
	@$(NODE_TEST) $(call report_in,$(FAILED_TESTS)) $(TEST_FILES) || $(call tell_failed_in,$(FAILED_TESTS))

test-again: setup ## Run again the files with a test that failed in the last `make test`
	@test -s $(FAILED_TESTS) || { echo 'No file of the last `make test` failed.' >&2; exit 1; }
	@$(NODE_TEST) $(call report_in,$(FAILED_TESTS)-again) $$(cut -d: -f1 $(FAILED_TESTS) | sort -u) || $(call tell_failed_in,$(FAILED_TESTS)-again)

test-slow: setup ## Run the tests that take minutes: large results, stores and recordings, kills at level stored, ends that take long, agents and endpoints that fail, programs of other languages, more random conversations, every command of the documentation
	@mkdir -p .cache
	@STENO_CONVERSATIONS=$(STENO_CONVERSATIONS) $(NODE_TEST) $(call report_in,$(FAILED_TESTS)-slow) $(SLOW_TEST_FILES) $(LONGER_TEST_FILES) || $(call tell_failed_in,$(FAILED_TESTS)-slow)

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
