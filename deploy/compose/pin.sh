#!/bin/sh
# Pulls the images of compose.yaml and Dockerfile, and writes their digests into these files: a tag can
# be moved, a digest cannot. For a new version, change the tag, delete the digest and run this again.
set -eu
folder=$(cd "$(dirname "$0")/.." && pwd)
docker=${DOCKER:-docker}
for file in compose.yaml Dockerfile; do
    sed -nE 's/^(    image:|FROM) ([^ @]+:[^ @]+)( AS .*)?$/\2/p' "$folder/$file" | sort -u |
        while read -r image; do
            $docker pull --quiet "$image" >/dev/null
            pinned=$($docker image inspect --format '{{index .RepoDigests 0}}' "$image")
            case $pinned in
            *@sha256:????????????????????????????????????????????????????????????????) ;;
            *) echo "pin.sh: $image has no digest" >&2 && exit 1 ;;
            esac
            sed -i -E "s#^(    image:|FROM) $image( AS .*)?\$#\1 $image@${pinned#*@}\2#" "$folder/$file"
            echo "$image@${pinned#*@}"
        done
done
