# Every target does its own set-up, in the ignored folder .work of this checkout.
# PY=3.13 chooses the CPython for `demo` (default: the newest that the machine has),
# VERSIONS="3.13 3.14" the ones for `test` (default: all that the machine has).

PY ?= any
VERSIONS ?=

.DEFAULT_GOAL := help
.PHONY: help test conformance demo bench lint ci clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

test: ## run the tests on the CPythons of this machine
	@tools/test $(VERSIONS)

conformance: ## run CPython's own tests against ours (3.14 and 3.15)
	@tools/py 3.14 tests/conformance/run.py
	@tools/py 3.15 tests/conformance/run.py

demo: ## parse the standard library serially, in processes and in interpreters
	@tools/py $(PY) -m subinterpreters demo

bench: ## measure on CPython 3.14, side by side with the standard library
	@tools/py 3.14 benchmarks/run.py

lint: ## check the conventions of the project
	@tools/lint

ci: ## everything: the tests on all CPythons, sanitizers, lint, examples
	@.ci/run

clean: ## remove everything that the other targets made
	@tools/clean
