#!/usr/bin/env bash
# Sets the number of nodes, and lets each node that goes hand over what it holds before it goes.
#   scale.sh N
# The namespace is `rumormill`, or the one in NAMESPACE.
# A pod cannot know whether it comes back. An update, a drained machine and a deleted pod are a stop, after which the node is the same member. Only
# this script knows that a node goes for good: it takes its place out of the set, and asks it to leave in the five seconds before the signal.
# Exit code 1: a node has not handed over everything. Its volume is kept: `scale.sh` with the number before brings it back.
set -euo pipefail
namespace=${NAMESPACE:-rumormill}

fail() {
    echo "scale.sh: $1" >&2
    exit "${2:-1}"
}

wanted=${1:-}
[[ $wanted =~ ^[1-9][0-9]?$ ]] || fail "usage: scale.sh N, and N is from 1 to 99" 2

k() {
    kubectl --namespace "$namespace" "$@"
}

replicas=$(k get statefulset rumormill --output 'jsonpath={.spec.replicas}')
if ((wanted >= replicas)); then
    k scale statefulset rumormill --replicas="$wanted"
    k rollout status statefulset rumormill --timeout=5m
    exit
fi

# A node that is down cannot hand over, and one that joins is no member to hand over to.
k rollout status statefulset rumormill --timeout=1m || fail "not all nodes are ready; nothing was changed"
for ((last = replicas - 1; last >= wanted; last--)); do
    pod=rumormill-$last
    k scale statefulset rumormill --current-replicas=$((last + 1)) --replicas="$last"
    k exec "$pod" --container rumormill -- /rumormill leave ||
        fail "$pod has not handed over everything: bring it back with scale.sh $((last + 1)), or see what its log says"
    k wait --for=delete "pod/$pod" --timeout=1m
done
