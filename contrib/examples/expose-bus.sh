#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Expose a port of a libvirt domain, use it, and take it back, by busctl on the system bus:
#   expose-bus.sh DOMAIN GUEST-PORT
set -eu
domain=$1
guest_port=$2

# call PATH INTERFACE METHOD SIGNATURE ARGUMENT...: the answer, like: s "text"
call() {
    path=$1 interface=$2
    shift 2
    busctl --system call org.virtforward1 "$path" "org.virtforward1.$interface" "$@"
}

# o "/org/virtforward1/domain/..."
object=$(call /org/virtforward1 Manager FindDomain s "$domain" | cut -d '"' -f 2)

# a(oqq) 1 "/org/virtforward1/forward/..." PORT ASKED-FOR
added=$(call "$object" Domain AddForward 'a{ss}a{sv}' 1 guest-port "$guest_port" 0)
forward=$(echo "$added" | cut -d '"' -f 2)
port=$(echo "$added" | cut -d '"' -f 3 | cut -d ' ' -f 2)
trap 'call "$forward" Forward Remove "a{sv}" 0; echo removed' EXIT

echo "port: $port"
state=$(busctl --system get-property org.virtforward1 "$forward" org.virtforward1.Forward State)
echo "state: $(echo "$state" | cut -d '"' -f 2)"
echo "answer: $(curl --silent --show-error --max-time 30 "http://127.0.0.1:$port/")"
