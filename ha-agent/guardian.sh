#!/usr/bin/env bash
# Removes the VIPs when the agent dies or hangs, so that they are gone before the peer adds them.
#
#   guardian.sh TIMEOUT_SECONDS PEER_ADDRESS PEER_PORT [ADDRESS/PREFIX INTERFACE]...
#
# The agent writes a line (a beat) on standard input with every round of heartbeats. It may hold a datagram in
# hexadecimal: the farewell, signed by the agent, that the peer gets once the addresses are seen to be gone, so that it
# need not wait for the silence. An empty PEER_ADDRESS: there is no way to send it. End of file means that it
# died, missed beats that it hangs or is stopped; both remove the addresses. After missed beats it says "fired"
# on standard output and waits for the next beat; after end of file it ends. The line "bye" relieves it:
# another guardian has taken over. The line "settings INTERFACE/NAME=VALUE..." says what to restore below
# /proc/sys/net/ipv4/conf. An address that is parked on lo goes as well, and so do the rules that forward to the peer.
#
# It runs in a session of its own and outlives signals meant for the agent. The loop uses builtins only: a
# guardian that must fork to notice something is late on the machine that is in trouble.
trap '' TERM INT HUP QUIT PIPE

timeout=$1
peer=$2
port=$3
shift 3
lines=''
parked=''
vips=()
while [ $# -ge 2 ]; do
  lines+="addr del $1 dev $2"$'\n'
  vips+=("${1%/*}")
  case $1 in
    *:*) parked+="addr del ${1%/*}/128 dev lo"$'\n' ;;
    *) parked+="addr del ${1%/*}/32 dev lo"$'\n' ;;
  esac
  shift 2
done
rules=''
for family in ip ip6; do
  rules+="table $family tandem_second_chance"$'\n'"delete table $family tandem_second_chance"$'\n'
done
settings=
farewell=

say_farewell() {
  local left vip i datagram=''
  if [ -z "$peer" ] || [ -z "$farewell" ]; then return; fi
  left=$(ip -o addr show 2>/dev/null)
  # No answer is no proof; lo is always there.
  [[ $left == *' lo '* ]] || return
  for vip in "${vips[@]}"; do
    if [[ $left == *" $vip/"* ]]; then return; fi
  done
  for ((i = 0; i < ${#farewell}; i += 2)); do datagram+="\\x${farewell:i:2}"; done
  # Twice, because one may be lost. printf writes a piece a line, dd all of it as one datagram.
  for i in 1 2; do
    # shellcheck disable=SC2059 # the datagram is all escapes
    printf "$datagram" | dd bs=$((${#farewell} / 2)) count=1 iflag=fullblock 2>/dev/null >"/dev/udp/$peer/$port"
  done
  farewell=
}

remove() {
  ip -force -batch - <<<"$lines$parked" >/dev/null 2>&1
  say_farewell
  for setting in $settings; do
    echo "${setting#*=}" 2>/dev/null >"/proc/sys/net/ipv4/conf/${setting%%=*}"
  done
  settings=
  nft -f - <<<"$rules" >/dev/null 2>&1 &
}

# No time-out before the first beat, and none after it has fired: there is nothing more to remove then.
armed=
while :; do
  if read -r ${armed:+-t "$timeout"} beat; then
    case $beat in
      bye) exit 0 ;;
      settings*) settings=${beat#settings} ;;
      *[!0-9a-f]*) ;;
      *) farewell=$beat ;;
    esac
    armed=1
  elif [ $? -gt 128 ]; then
    remove
    armed=
    echo fired 2>/dev/null
  else
    remove
    exit 0
  fi
done
