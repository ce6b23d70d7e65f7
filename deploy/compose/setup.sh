#!/bin/sh
# Retention and averages in the InfluxDB, an account for Grafana that may only read, one for the
# service that may read and write its readings alone, the dashboards.
set -eu
plumewatch=${PLUMEWATCH:-/opt/plumewatch/bin/plumewatch}
files=${GRAFANA_FILES:-/grafana}
account=${INFLUX_ACCOUNT:-/influx}/token
reader=$files/influx-reader
admin=${INFLUX_ADMIN:-/run/secrets/influx-token} # which the service's container does not have

set -- storage setup --config "$PLUMEWATCH_CONFIG" --admin-token-file "$admin"
[ -s "$reader" ] || set -- "$@" --reader-file "$reader"
[ -s "$account" ] || set -- "$@" --service-file "$account"
"$plumewatch" "$@"
chmod 0640 "$reader"  # Grafana is of group root
chmod 0444 "$account" # the service's user has another number; nobody else has this volume
"$plumewatch" dashboards build --config "$PLUMEWATCH_CONFIG" --out "$files/dashboards"
