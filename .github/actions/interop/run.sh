#!/usr/bin/env bash
# The action's work: both matrices of the endpoint with its peers, as server and as client, then the gate.
# `run.sh INTERQUIC`, with COMMAND, or IMAGE and IMAGES, with PEERS, TESTS, LOGS and, which may be empty, POLICY,
# BASELINE and ARGS.
set -euo pipefail
interquic="$1"

if [ -n "$COMMAND" ] && [ -z "$IMAGE$IMAGES" ]; then
    endpoint=(--peer "endpoint=$COMMAND")
    network=auto
    IFS=, read -r -a others <<<"$PEERS"
    "$interquic" interop peers install "${others[@]}"
elif [ -n "$IMAGE" ] && [ -n "$IMAGES" ] && [ -z "$COMMAND" ]; then
    endpoint=(--peer "endpoint=docker:$IMAGE" --images "$IMAGES")
    network=docker
else
    echo "interop: either command is needed, or image and images, the file with those of the peers" >&2
    exit 2
fi

# Options that the user wrote are words.
read -r -a more <<<"$ARGS"
# Status 1 is a failed cell, about which the gate decides.
matrix() {
    "$interquic" interop run --network "$network" "${endpoint[@]}" --test "$TESTS" --seed "${GITHUB_RUN_NUMBER:-1}" "$@" \
        ${more[@]+"${more[@]}"} || { status=$?; [ "$status" -eq 1 ] || exit "$status"; }
}
matrix --server endpoint --client "$PEERS" --log-dir "$LOGS/server"
matrix --client endpoint --server "$PEERS" --log-dir "$LOGS/client"

if [ -z "$POLICY" ]; then
    "$interquic" interop merge "$LOGS/server" "$LOGS/client" --json "$LOGS/results.json"
    exit
fi
baseline=()
if [ -n "$BASELINE" ]; then
    read -r -a files <<<"$BASELINE"
    baseline=(--baseline "${files[@]}")
fi
"$interquic" interop gate --results "$LOGS/server" "$LOGS/client" --policy "$POLICY" ${baseline[@]+"${baseline[@]}"} \
    --decide "${endpoint[@]}" --log-dir "$LOGS/more" --json "$LOGS/results.json" \
    --annotations --summary "${GITHUB_STEP_SUMMARY:-$LOGS/summary.md}"
