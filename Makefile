# Thin names for the scripts; each works without make too.
.PHONY: setup sample test

setup:
	scripts/setup.sh

sample:
	scripts/sample.sh

test:
	scripts/test.sh
