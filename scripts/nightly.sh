#!/usr/bin/env bash
# nightly.sh CONFIG [options of `pretrain-data nightly`]: for cron. What it prints goes to cron's mail or a log:
#   15 2 * * *  /srv/pretrain_data/scripts/nightly.sh /srv/configs/nightly.yaml --wait 60 >>/var/log/nightly.log 2>&1
# The exit code is that of the command: 0 done, 1 failed, 2 config, 3 input, 4 busy, 5 integrity.
set -euo pipefail
config=$(realpath "${1:?usage: nightly.sh CONFIG [options]}")
shift
venv=$(realpath "$(dirname "$(realpath "$0")")/..")/.venv
[ -x "$venv/bin/pretrain-data" ] && PATH="$venv/bin:$PATH"
exec pretrain-data nightly "$config" "$@"
