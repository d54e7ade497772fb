#!/usr/bin/env bash
# Prints an override of compose.yaml that adds the nodes from 4 to N.
#   more.sh N >compose.override.yaml
# N is at most 9: the ports follow the number of the node, 7491 and 7492 for the last.
set -euo pipefail

count=${1:-}
if ! [[ $count =~ ^[4-9]$ ]]; then
    echo "usage: more.sh N, and N is from 4 to 9" >&2
    exit 2
fi

cat <<HEADER
# Written by more.sh $count.
services:
HEADER
for ((i = 4; i <= count; i++)); do
    cat <<NODE
  node-$i:
    image: \${RUMORMILL_IMAGE:-rumormill:local}
    restart: unless-stopped
    stop_grace_period: 10s
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    environment: {RUMORMILL_NAME: node-$i, RUMORMILL_ADVERTISE: "node-$i.peers:7400", RUMORMILL_JOIN: "node-1.peers:7400,node-2.peers:7400,node-3.peers:7400"}
    volumes: ["node-$i:/data"]
    networks: {clients: {}, peers: {aliases: [node-$i.peers]}}
    ports: ["127.0.0.1:74${i}1:7401", "127.0.0.1:74${i}2:7402"]
NODE
done
echo "volumes:"
for ((i = 4; i <= count; i++)); do
    echo "  node-$i:"
done
