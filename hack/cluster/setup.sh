#!/bin/sh
# Debian packages that the test cluster needs. Quick when they are there.
set -eu
packages="buildah containernetworking-plugins curl debootstrap iproute2 nftables openssl prometheus runc"

missing=
for package in $packages; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "cluster: these Debian packages are missing:$missing; install them as root and run this again" >&2
    exit 1
fi
echo "cluster: installing$missing"
apt-get update -qq
# RUNLEVEL: the package's own Prometheus service is not wanted.
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing >/dev/null
