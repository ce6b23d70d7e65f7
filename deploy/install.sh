#!/bin/sh
# Install Plumewatch as a service on this machine, or remove it.
set -eu

usage() {
    cat <<'END'
Usage: install.sh [--wheel FILE] [--python PROGRAM] [--no-start]
       install.sh --uninstall [--purge]

Installs the checkout that this script is in, or a wheel, as a systemd service. Run again, it
upgrades the service to that version; if there is nothing new, it changes nothing.

  --wheel FILE       install this wheel instead of the checkout
  --python PROGRAM   Python 3.11 or newer (default: python3)
  --no-start         leave systemd alone: for images and for systems without it
  --uninstall        remove program and service; configuration and data stay
  --purge            with --uninstall: also delete configuration, data and the user

  /opt/plumewatch/current                this version; the previous one is kept
  /etc/plumewatch/plumewatch.toml        configuration; never overwritten
  /etc/plumewatch/secrets                passwords and addresses, only for root and the service
  /var/lib/plumewatch                    readings and incidents
  /usr/local/bin/plumewatch              the command; run as root, it switches to the service's user
  /etc/systemd/system/plumewatch.service
END
}

refuse() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

say() { echo "install.sh: $1"; }

HOME_OF_PROGRAM=/opt/plumewatch
ETC=/etc/plumewatch
DATA=/var/lib/plumewatch
COMMAND=/usr/local/bin/plumewatch
UNIT=/etc/systemd/system/plumewatch.service
HERE=$(cd "$(dirname "$0")" && pwd)

wheel='' python=python3 start=yes uninstall='' purge=''
while [ $# -gt 0 ]; do
    case $1 in
        --wheel | --python)
            [ $# -ge 2 ] || refuse "$1 needs a value; see --help" 2
            if [ "$1" = --wheel ]; then wheel=$2; else python=$2; fi
            shift
            ;;
        --no-start) start='' ;;
        --uninstall) uninstall=yes ;;
        --purge) purge=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) refuse "unknown option $1; see --help" 2 ;;
    esac
    shift
done
[ -z "$purge" ] || [ -n "$uninstall" ] || refuse '--purge requires --uninstall' 2
[ "$(id -u)" = 0 ] || refuse 'run it as root: sudo sh install.sh'
if [ -n "$start" ] && [ ! -d /run/systemd/system ]; then
    refuse 'systemd is not running; use --no-start to install without starting the service'
fi

if [ -n "$uninstall" ]; then
    if [ -n "$start" ] && [ -e $UNIT ]; then systemctl disable --now plumewatch; fi
    rm -rf $UNIT $COMMAND $HOME_OF_PROGRAM
    if [ -n "$start" ]; then systemctl daemon-reload; fi
    if [ -z "$purge" ]; then
        say "removed the program and the service; kept $ETC and $DATA (--purge deletes them)"
        exit 0
    fi
    rm -rf $ETC $DATA
    if id plumewatch >/dev/null 2>&1; then userdel plumewatch; fi
    say 'removed the program, the service, the configuration and the data'
    exit 0
fi

command -v "$python" >/dev/null || refuse "$python not found; choose Python 3.11 or newer with --python"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    refuse "$python is $("$python" --version 2>&1); Plumewatch needs 3.11 or newer (--python)"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    refuse "$python cannot make virtual environments; on Debian: apt-get install python3-venv"
command -v useradd >/dev/null || refuse 'useradd not found; on Debian: apt-get install passwd'
command -v sqlite3 >/dev/null ||
    say 'sqlite3 not found; without it, a damaged database is only partly recovered; on Debian: apt-get install sqlite3'
mkdir -p $HOME_OF_PROGRAM
free_mb=$(df -Pm $HOME_OF_PROGRAM | awk 'NR == 2 { print $4 }')
[ "$free_mb" -ge 1500 ] || refuse "$HOME_OF_PROGRAM has $free_mb MB free, but 1500 MB are needed"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "$wheel" ]; then
    [ -e "$HERE/../pyproject.toml" ] || refuse 'this script is not in a checkout; choose a wheel with --wheel'
    "$python" -m venv "$work/build"
    pip="$work/build/bin/python -m pip --quiet --disable-pip-version-check"
    $pip install --require-hashes --requirement "$HERE/../requirements-build.lock"
    $pip wheel --no-deps --no-build-isolation --wheel-dir "$work" "$HERE/.."
    wheel=$(echo "$work"/plumewatch-*.whl)
fi
[ -f "$wheel" ] || refuse "$wheel not found"
version=$(basename "$wheel" | cut -d- -f2)-$("$python" -c '
import hashlib, sys, zipfile
digest = hashlib.sha256()
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in sorted(wheel.namelist()):
        digest.update(name.encode() + wheel.read(name))
print(digest.hexdigest()[:8])' "$wheel") || refuse "$wheel is not a wheel"
new=$HOME_OF_PROGRAM/$version
current=$(readlink $HOME_OF_PROGRAM/current || true)
changed=yes

id plumewatch >/dev/null 2>&1 ||
    useradd --system --user-group --home-dir $DATA --no-create-home --shell /usr/sbin/nologin plumewatch

# Check this first, because installation takes minutes.
may_run() { runuser -u plumewatch -- "$@" >/dev/null 2>&1; }
program=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
may_run "$program" -c '' || refuse "the service's user cannot run $program; choose another with --python"

if [ "$current" = "$version" ]; then
    say "$version is already installed"
    changed=''
else
    # The new version is installed next to the one in use, so a failed installation changes nothing.
    # The previous version is kept, so going back to it needs no packages.
    if ! said=$("$new/bin/plumewatch" --version 2>/dev/null); then
        rm -rf "$new"
        trap 'rm -rf "$work" "$new"' EXIT
        "$python" -m venv "$new"
        pip="$new/bin/python -m pip --quiet --disable-pip-version-check"
        { $pip install --require-hashes --requirement "$HERE/../requirements-run.lock" &&
            $pip install --no-deps "$wheel"; } ||
            refuse 'the packages could not be installed; nothing was changed'
        said=$("$new/bin/plumewatch" --version) || refuse 'the new version does not start; nothing was changed'
    fi
    may_run "$new/bin/plumewatch" --version || refuse "the service's user cannot run $new/bin/plumewatch"
    ln -sfn "$version" $HOME_OF_PROGRAM/current.new
    mv -T $HOME_OF_PROGRAM/current.new $HOME_OF_PROGRAM/current
    trap 'rm -rf "$work"' EXIT
    say "installed $said"
    for old in "$HOME_OF_PROGRAM"/*/; do
        old=$(basename "$old")
        case $old in "$version" | "$current" | current) ;; *) rm -rf "${HOME_OF_PROGRAM:?}/$old" ;; esac
    done
fi

install -d -m 0700 -o plumewatch -g plumewatch $DATA
# New files get the service's group, so that the service can read what root writes there.
install -d -m 2750 -o root -g plumewatch $ETC $ETC/secrets
cmp -s "$HERE/plumewatch.service" $UNIT || changed=yes
install -m 0644 "$HERE/plumewatch.service" $UNIT
cat >"$work/command" <<'END'
#!/bin/sh
# Plumewatch. Root switches to the service's user, so that root never owns a data file. Only commands
# that write the configuration or its secrets stay root.
PLUMEWATCH_CONFIG=${PLUMEWATCH_CONFIG:-/etc/plumewatch/plumewatch.toml}
export PLUMEWATCH_CONFIG
program=/opt/plumewatch/current/bin/plumewatch
case "$(id -u):${1-}" in
    0:init | 0:setup | 0:storage) umask 0027 && exec $program "$@" ;;
    0:*) exec /usr/sbin/runuser -u plumewatch -- $program "$@" ;;
    *) exec $program "$@" ;;
esac
END
install -D -m 0755 "$work/command" $COMMAND

fresh=''
if [ ! -e $ETC/plumewatch.toml ]; then
    fresh=yes
    $HOME_OF_PROGRAM/current/bin/plumewatch init "$work/starter.toml" >/dev/null
    sed "s|^data_dir = \"plumewatch-data\" *|data_dir = \"$DATA\" |" "$work/starter.toml" >"$work/edited.toml"
    install -m 0640 -o root -g plumewatch "$work/edited.toml" $ETC/plumewatch.toml
fi

if [ -n "$start" ] && [ -n "$changed" ]; then
    systemctl daemon-reload
    if systemctl is-enabled --quiet plumewatch 2>/dev/null; then
        systemctl restart plumewatch
        say 'the service is running the new version'
    fi
fi
if [ -n "$fresh" ]; then
    say "enter rooms, sensors and staff in $ETC/plumewatch.toml, then run
  plumewatch check
  systemctl enable --now plumewatch"
fi
