#!/usr/bin/env bash
# Writes requirements.lock anew: the newest versions that pyproject.toml admits, each pinned.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
python3 -m venv "$venv"
"$venv/bin/pip" --disable-pip-version-check --quiet install -e '.[dev,docs]' setuptools wheel
{
    echo "# Written by scripts/lock.sh. Installed with --no-deps; torch's own needs come with its build."
    "$venv/bin/pip" list --format freeze | grep -v -i -E '^(pip|pretrain-data|nvidia-|triton|cuda-)' |
        sed -E 's/^(torch==[0-9.]+)\+.*/\1/' | sort -f
    cat scripts/lock-extra.txt
} >requirements.lock
