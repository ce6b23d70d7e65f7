#!/bin/sh
# Starts Mosquitto in its container, with deploy/mosquitto.conf and the passwords from the secrets,
# and lets the other containers connect. With `health`, checks whether it answers the service.
set -eu
secrets=/run/secrets
etc=/etc/mosquitto

if [ "${1-}" = health ]; then
    # shellcheck disable=SC2016 # the broker's own topic
    XDG_CONFIG_HOME=$etc exec mosquitto_sub -h 127.0.0.1 -t '$SYS/broker/uptime' -C 1 -W 5 >/dev/null
fi

umask 077
# Passwords are passed in files: anyone who can list processes can read arguments.
printf 'plumewatch:%s\n' "$(cat $secrets/broker-password)" >$etc/plumewatch-passwords
mosquitto_passwd -U $etc/plumewatch-passwords
cat $secrets/broker-devices >>$etc/plumewatch-passwords
printf -- '-u plumewatch\n-P %s\n' "$(cat $secrets/broker-password)" >$etc/mosquitto_sub
cat /plumewatch/mosquitto.acl >$etc/plumewatch-acl
sed 's/^listener 1883 127\.0\.0\.1$/listener 1883/' /plumewatch/mosquitto.conf >$etc/mosquitto.conf
if [ -e $secrets/broker-certificate ]; then
    cat $secrets/broker-certificate >$etc/certificate
    cat $secrets/broker-key >$etc/key
    printf 'listener 8883\ncertfile %s\nkeyfile %s\n' $etc/certificate $etc/key >>$etc/mosquitto.conf
    printf 'max_connections 450\nuse_username_as_clientid true\n' >>$etc/mosquitto.conf
fi
chown -R mosquitto $etc /var/lib/mosquitto
exec mosquitto -c $etc/mosquitto.conf
