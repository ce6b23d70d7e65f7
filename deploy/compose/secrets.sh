#!/bin/sh
# Makes the passwords and tokens of compose.yaml in deploy/secrets; existing ones stay.
set -eu
umask 077
folder=$(cd "$(dirname "$0")/.." && pwd)/secrets
mkdir -p "$folder"
# Only its owner may enter the folder. The users inside the containers have other ids, so the files,
# which are mounted one by one, are readable by all.
for name in broker-password influx-password influx-token grafana-password; do
    [ -e "$folder/$name" ] || head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$folder/$name"
done
# Sensors and their passwords, as mosquitto_passwd writes them.
[ -e "$folder/broker-devices" ] || : >"$folder/broker-devices"
chmod 0444 "$folder"/*
chmod 0644 "$folder/broker-devices"
