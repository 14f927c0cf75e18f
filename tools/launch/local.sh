#!/usr/bin/env bash
# Trains with several processes on this machine, started again when one of them is lost; to try out what a cluster does.
#
#   PROCESSES=2 tools/launch/local.sh --config=configs/quickstart.py --workdir=RUN --config.data.dataset=DATA
set -euo pipefail

PROCESSES=${PROCESSES:-2}
RESTARTS=${RESTARTS:-5}
MAXLM=${MAXLM:-.venv/bin/maxlm}

for ((attempt = 0; attempt <= RESTARTS; attempt++)); do
  port=$((20000 + RANDOM % 10000)) # a new one for each start: the old one may not be free yet
  pids=()
  for ((index = 0; index < PROCESSES; index++)); do
    "$MAXLM" train "$@" --coordinator="127.0.0.1:$port" --num-processes="$PROCESSES" --process-id="$index" &
    pids+=($!)
  done
  code=0
  for pid in "${pids[@]}"; do
    ended=0
    wait "$pid" || ended=$?
    # A mistake counts more than what the others say of losing that process.
    if ((ended == 2 || (code == 0 && ended != 0))); then code=$ended; fi
  done
  case $code in
  0 | 2 | 130) exit "$code" ;;
  esac
  echo "maxlm train ended with $code; it goes on from its last checkpoint (start $((attempt + 2)))" >&2
done
exit "$code"
