#!/usr/bin/env bash
# Tells the neighbours on which machine an address is. One long-lived shell, so that a takeover forks nothing large.
#
# For each line "TOOL INTERFACE ADDRESS" on standard input one announcement goes out: TOOL is arping (a gratuitous ARP
# request) or ndptool (an unsolicited neighbour advertisement). It prints the line again with the tool's exit code.
# It ends with its input; a tool that hangs is ended.
export LC_ALL=C
trap '' INT HUP QUIT PIPE

announce() {
  local tool=$1 interface=$2 address=$3
  # One packet a process: one that goes on after the VIP has moved would lie to the neighbours.
  case $tool in
    arping) timeout -s KILL 4 arping -q -U -c 1 -w 2 -I "$interface" "$address" ;;
    ndptool) timeout -s KILL 4 ndptool -t na -U -T "$address" -i "$interface" send ;;
  esac >/dev/null 2>&1
  echo "$tool $interface $address $?" 2>/dev/null
}

while read -r tool interface address; do
  announce "$tool" "$interface" "$address" </dev/null &
done
