#!/usr/bin/env bash
# audit.sh: the locked packages against the databases of known vulnerabilities (pip-audit). For a weekly schedule:
# it needs the network, so it is no test. Exit code 1 where something is found.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/python -m venv "$work/venv" # apart: the audit's own packages are not ours
"$work/venv/bin/pip" --quiet install pip-audit
"$work/venv/bin/pip-audit" --no-deps --disable-pip --requirement requirements.lock
