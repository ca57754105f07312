#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The same without a message bus, by the daemon's private socket, which is its own user's (root's, for
# qemu:///system); and what an error looks like: expose-private.sh DOMAIN GUEST-PORT
set -eu
domain=$1
guest_port=$2
address=unix:path=${XDG_RUNTIME_DIR:-/run}/virt-forward/bus.sock
[ "$(id -u)" != 0 ] || address=unix:path=/run/virt-forward/bus.sock

call() {
    path=$1 interface=$2
    shift 2
    busctl --address="$address" call org.virtforward1 "$path" "org.virtforward1.$interface" "$@"
}

object=$(call /org/virtforward1 Manager FindDomain s "$domain" | cut -d '"' -f 2)
added=$(call "$object" Domain AddForward 'a{ss}a{sv}' 2 guest-port "$guest_port" name example 0)
port=$(echo "$added" | cut -d '"' -f 3 | cut -d ' ' -f 2)
trap 'call "$object" Domain RemoveForward "sa{sv}" example 0; echo removed' EXIT

echo "port: $port"
echo "answer: $(curl --silent --show-error --max-time 30 "http://127.0.0.1:$port/")"

# busctl tells the text of an error; gdbus its name, too.
gdbus call --address "$address" --dest org.virtforward1 --object-path "$object" \
    --method org.virtforward1.Domain.AddForward "{'guest-port': '99999'}" '{}' || true
