#!/bin/sh
# Makes the passwords and tokens of compose.yaml in deploy/secrets; what is there stays.
set -eu
umask 077
folder=$(cd "$(dirname "$0")/.." && pwd)/secrets
mkdir -p "$folder"
# Only its owner may enter the folder. The files are for the users within the containers, who have
# other numbers, so everybody may read what he was handed.
for name in broker-password influx-password influx-token grafana-password; do
    [ -e "$folder/$name" ] || head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$folder/$name"
done
# Sensors and their passwords, as mosquitto_passwd writes them.
[ -e "$folder/broker-devices" ] || : >"$folder/broker-devices"
chmod 0444 "$folder"/*
chmod 0644 "$folder/broker-devices"
