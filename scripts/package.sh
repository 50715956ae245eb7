#!/usr/bin/env bash
# package.sh OUT.tar.gz: this checkout's package as an archive for executors that don't have it installed:
#   spark-submit --archives OUT.tar.gz#app --conf spark.executorEnv.PYTHONPATH=app jobs/NAME.py --config CONFIG
# An archive and not --py-files: models, word lists and rule files are read as files, and numba keeps its
# compiled kernels beside them. The packages it stands on (torch, pyarrow, …) come with the workers' Python.
set -euo pipefail
out=$(realpath -m "${1:?usage: package.sh OUT.tar.gz}")
cd "$(dirname "$0")/.."
tar --exclude=__pycache__ --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -czf "$out" pretrain_data
