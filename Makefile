# Thin names for the scripts; each works without make too.
.PHONY: setup sample test bench

setup:
	scripts/setup.sh

sample:
	scripts/sample.sh

test:
	scripts/test.sh

bench:
	scripts/bench.sh "$(DATA)"
