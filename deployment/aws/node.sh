#!/usr/bin/env bash
# Gives a new instance the volume and the name of its node, and starts the node. Called by the user data of template.yaml, with the variables
# BUCKET, RELEASE, NODE, FOUND, VOLUME, NAMES (the hosted zone), DOMAIN and AWS_DEFAULT_REGION.
set -euo pipefail

session=$(curl -sf -X PUT http://169.254.169.254/latest/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 300')
about() {
    curl -sf -H "X-aws-ec2-metadata-token: $session" "http://169.254.169.254/latest/meta-data/$1"
}
instance=$(about instance-id)
address=$(about local-ipv4)
zone=$(about placement/availability-zone)

# The instance before may hold the volume for a while. The signal of the stack gives up after ten minutes.
until aws ec2 attach-volume --volume-id "$VOLUME" --instance-id "$instance" --device /dev/sdf; do sleep 5; done
disk=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${VOLUME/-/}
until [ -b "$disk" ]; do sleep 1; done
# Only a volume without any file system gets one.
kind=$(blkid -p -o value -s TYPE "$disk") || {
    code=$?
    # 2: nothing was found on the disk. Any other code is a fault.
    [ "$code" -eq 2 ] || exit "$code"
    kind=''
}
if [ -z "$kind" ]; then
    mkfs.xfs "$disk"
fi
# The unit has its directories here: the data, and checkpoints beside it.
install -d -m 0700 /var/lib/private
echo "$disk /var/lib/private xfs defaults 0 2" >>/etc/fstab
mount /var/lib/private
chmod 0700 /var/lib/private

aws route53 change-resource-record-sets --hosted-zone-id "$NAMES" --change-batch "{\"Changes\": [{\"Action\": \"UPSERT\",
    \"ResourceRecordSet\": {\"Name\": \"node-$NODE.$DOMAIN\", \"Type\": \"A\", \"TTL\": 10,
    \"ResourceRecords\": [{\"Value\": \"$address\"}]}}]}"

aws s3 cp "s3://$BUCKET/releases/$RELEASE/rumormill" /usr/bin/rumormill
aws s3 cp "s3://$BUCKET/releases/$RELEASE/rumormill.service" /etc/systemd/system/rumormill.service
chmod 0755 /usr/bin/rumormill
install -d /etc/rumormill /etc/systemd/system/rumormill.service.d
touch /etc/rumormill/node.toml
cat >/etc/systemd/system/rumormill.service.d/node.conf <<SETTINGS
[Service]
Environment=RUMORMILL_NAME=node-$NODE
Environment=RUMORMILL_ZONE=$zone
Environment=RUMORMILL_LISTEN=0.0.0.0:7400
Environment=RUMORMILL_REDIS=0.0.0.0:7401
Environment=RUMORMILL_HTTP=0.0.0.0:7402
Environment=RUMORMILL_ADVERTISE=node-$NODE.$DOMAIN:7400
Environment=RUMORMILL_JOIN=node-1.$DOMAIN:7400,node-2.$DOMAIN:7400,node-3.$DOMAIN:7400
Environment=RUMORMILL_FOUND=$FOUND
# 128 MiB, as the page counts.
Environment=RUMORMILL_CLIENTS_OUTPUT=134217728
SETTINGS
systemctl daemon-reload
systemctl enable --now rumormill.service
# The next node is touched once this one is a member that is ready.
until curl -sf http://127.0.0.1:7402/readyz; do sleep 1; done
