#!/usr/bin/env bash
# Trains on a slice of Cloud TPU VMs: the same command on every host, started again when it ends with 75 or is killed.
#
#   TPU=my-slice ZONE=us-east5-a tools/launch/tpu_vm.sh \
#     --config=configs/llama3_8b.py --workdir=gs://BUCKET/runs/8b --config.data.dataset=gs://BUCKET/data
#
# The slice must be there (gcloud compute tpus tpu-vm create, or queued-resources create). All arguments go to
# `maxlm train`; jax finds the hosts by the slice's metadata. What is checked out here is copied to the hosts first.
set -euo pipefail

: "${TPU:?name of the slice: TPU=my-slice}"
: "${ZONE:?its zone: ZONE=us-east5-a}"
RESTARTS=${RESTARTS:-100}

on_every_host() { # COMMAND
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

# A worker that is still there from before (of a broken connection, say) would hold the chips.
on_every_host 'pkill -f "[m]axlm train" || true'

git archive --format=tar.gz --output=/tmp/maxlm.tar.gz HEAD
gcloud compute tpus tpu-vm scp /tmp/maxlm.tar.gz "$TPU:/tmp/" --zone="$ZONE" --worker=all
on_every_host 'mkdir -p ~/maxlm && tar -xzf /tmp/maxlm.tar.gz -C ~/maxlm && cd ~/maxlm &&
  { test -d .venv || python3 -m venv .venv; } && .venv/bin/pip install --quiet ".[tpu]"'

command="cd ~/maxlm && .venv/bin/maxlm train$(printf ' %q' "$@")"
short=0 # starts in a row that ended within two minutes; gcloud may not give back the code of a mistake, which is 2
for ((attempt = 0; attempt <= RESTARTS; attempt++)); do
  code=0 began=$SECONDS
  on_every_host "$command" || code=$?
  case $code in
  0) exit 0 ;;
  2 | 130) exit "$code" ;; # a mistake, or Ctrl-C: another try would end alike
  esac
  if ((SECONDS - began < 120)); then short=$((short + 1)); else short=0; fi
  if ((short == 3)); then exit "$code"; fi
  echo "maxlm train ended with $code; it goes on from its last checkpoint (start $((attempt + 2)))" >&2
  sleep 30 # one host ends first; the others follow within half a minute
  on_every_host 'pkill -f "[m]axlm train" || true'
done
exit "$code"
