#!/bin/sh
# Retention and averages in the InfluxDB, an account for Grafana that may only read, one for the
# service that may read and write its readings alone, the dashboards.
set -eu
plumewatch=${PLUMEWATCH:-/opt/plumewatch/bin/plumewatch}
files=${GRAFANA_FILES:-/grafana}
account=${INFLUX_ACCOUNT:-/influx}/token
reader=$files/influx-reader
config=$(mktemp)
trap 'rm -f "$config"' EXIT

# The administrator's token, which only this container has.
sed 's#^token_file = .*#token_file = "/run/secrets/influx-token"#' "$PLUMEWATCH_CONFIG" >"$config"
set -- storage setup --config "$config"
[ -s "$reader" ] || set -- "$@" --reader-file "$reader"
[ -s "$account" ] || set -- "$@" --service-file "$account"
"$plumewatch" "$@"
chmod 0640 "$reader"  # Grafana is of group root
chmod 0444 "$account" # the service's user has another number; nobody else has this volume
"$plumewatch" dashboards build --config "$PLUMEWATCH_CONFIG" --out "$files/dashboards"
