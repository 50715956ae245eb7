#!/usr/bin/env bash
# From nothing to training data: sets up, writes the sample crawl, runs all stages over it in local mode.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
.venv/bin/pretrain-data sample work/sample/crawl
.venv/bin/pretrain-data run configs/sample.yaml "$@"
