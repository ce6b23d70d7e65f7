#!/bin/sh
# Retention and averages in the InfluxDB, an account for Grafana that may only read, the dashboards.
set -eu
plumewatch=${PLUMEWATCH:-/opt/plumewatch/bin/plumewatch}
files=${GRAFANA_FILES:-/grafana}
reader=$files/influx-reader

if [ -s "$reader" ]; then
    "$plumewatch" storage setup
else
    "$plumewatch" storage setup --reader-file "$reader"
    chmod 0640 "$reader" # Grafana is of group root
fi
"$plumewatch" dashboards build --config "$PLUMEWATCH_CONFIG" --out "$files/dashboards"
