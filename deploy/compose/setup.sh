#!/bin/sh
# Sets up retention and averages in the InfluxDB, a read-only account for Grafana, an account for the
# service that is limited to its own readings, and the dashboards.
set -eu
plumewatch=${PLUMEWATCH:-/opt/plumewatch/bin/plumewatch}
files=${GRAFANA_FILES:-/grafana}
account=${INFLUX_ACCOUNT:-/influx}/token
reader=$files/influx-reader
admin=${INFLUX_ADMIN:-/run/secrets/influx-token} # the service's container does not have it

set -- storage setup --config "$PLUMEWATCH_CONFIG" --admin-token-file "$admin"
[ -s "$reader" ] || set -- "$@" --reader-file "$reader"
[ -s "$account" ] || set -- "$@" --service-file "$account"
"$plumewatch" "$@"
chmod 0640 "$reader"  # Grafana runs in group root
chmod 0444 "$account" # the service's user has another id; only the service mounts this volume
"$plumewatch" dashboards build --config "$PLUMEWATCH_CONFIG" --out "$files/dashboards"
