#!/usr/bin/env bash
# Removes the VIPs when the agent dies or hangs, so that they are gone before the peer adds them.
#
#   guardian.sh TIMEOUT_SECONDS PEER_ADDRESS PEER_PORT
#     [vip ADDRESS/PREFIX INTERFACE | line IP_COMMAND | table NAME | exec ADDRESS COUNT WORD...]...
#
# The agent writes a line (a beat) on standard input with every round of heartbeats. It may hold a datagram in
# hexadecimal: the farewell, signed by the agent, that the peer gets once the addresses are seen to be gone, so that it
# need not wait for the silence; "none" takes it back, an empty line leaves it. An empty PEER_ADDRESS: there is no way
# to send it. End of file means that it died, missed beats that it hangs or is stopped; both remove the addresses. After
# missed beats it says "fired" on standard output and waits for the next beat; after end of file it ends. The line "bye"
# relieves it: another guardian has taken over. The line "settings INTERFACE/NAME=VALUE..." says what to restore below
# /proc/sys/net/ipv4/conf, the line "ip PID..." which processes add addresses for the agent, the line "told ADDRESS..."
# for which addresses the command after "exec" is to be called, the line "former IP_COMMAND\x01..." what brings back
# routes of the host; the line "wait TIMEOUT" takes the place of TIMEOUT_SECONDS. An address that is parked on lo goes
# as well, and so does a copy that somebody else has added, wherever it is; so do routes (lines for ip) and the rules
# that forward to the peer.
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
rules=''
vips=()
exec_address=()
exec_start=()
exec_count=()
exec_words=()
while [ $# -ge 2 ]; do
  case $1 in
    vip)
      lines+="addr del $2 dev $3"$'\n'
      vips+=("${2%/*}")
      case $2 in
        *:*) parked+="addr del ${2%/*}/128 dev lo"$'\n' ;;
        *) parked+="addr del ${2%/*}/32 dev lo"$'\n' ;;
      esac
      shift 3
      ;;
    line)
      lines+=$2$'\n'
      shift 2
      ;;
    table)
      for family in ip ip6; do
        rules+="table $family $2"$'\n'"delete table $family $2"$'\n'
      done
      shift 2
      ;;
    exec)
      exec_address+=("$2")
      exec_start+=("${#exec_words[@]}")
      exec_count+=("$3")
      exec_words+=("${@:4:$3}")
      shift $(($3 + 3))
      ;;
    *) exit 2 ;;
  esac
done
told=
copies=
settings=
adders=
former=
farewell=
fired=

# Finds what is left of the addresses, on any interface and with any prefix: $copies has the lines for ip that remove it.
# Fails where ip does not tell; lo is always there.
look() {
  local device address vip shown
  copies=
  shown=$(ip -o addr show </dev/null 2>/dev/null)
  [[ $shown == *' lo '* ]] || return 1
  while read -r _ device _ address _; do
    for vip in "${vips[@]}"; do
      if [[ $address == "$vip/"* ]]; then copies+="addr del $address dev $device"$'\n'; fi
    done
  done <<<"$shown"
}

are_gone() {
  look && [ -z "$copies" ]
}

say_farewell() {
  local i datagram=''
  if [ -z "$peer" ] || [ -z "$farewell" ]; then return; fi
  for ((i = 0; i < ${#farewell}; i += 2)); do datagram+="\\x${farewell:i:2}"; done
  # Twice, because one may be lost. printf writes a piece a line, dd all of it as one datagram.
  for i in 1 2; do
    # shellcheck disable=SC2059 # the datagram is all escapes
    printf "$datagram" | dd bs=$((${#farewell} / 2)) count=1 iflag=fullblock 2>/dev/null >"/dev/udp/$peer/$port"
  done
  farewell=
}

# In the background, each for itself: the addresses are gone from this machine already.
call_commands() {
  local i
  for ((i = 0; i < ${#exec_address[@]}; i++)); do
    if [[ " $told " == *" ${exec_address[i]} "* ]]; then
      # Not TERM, which they would ignore as this shell does.
      timeout -s KILL 10 "${exec_words[@]:${exec_start[i]}:${exec_count[i]}}" </dev/null >/dev/null 2>&1 &
    fi
  done
  told=
}

# What the agent has asked for and what has not happened yet must not happen after the removal: on a machine where all is
# late, a renewal would bring the addresses back.
stop_adders() {
  local adder name
  for adder in $adders; do
    name=
    read -r name 2>/dev/null <"/proc/$adder/comm"
    if [ "$name" = ip ]; then kill -KILL "$adder" 2>/dev/null; fi
  done
  adders=
}

# Fails as long as an address is there: `ip` may not have started on a machine that is out of memory or processes.
remove() {
  local gone=1
  stop_adders
  ip -force -batch - <<<"$lines$parked$former" >/dev/null 2>&1
  former=
  if look && [ -n "$copies" ]; then ip -force -batch - <<<"$copies" >/dev/null 2>&1; fi
  if are_gone; then
    gone=0
    say_farewell
  fi
  call_commands
  for setting in $settings; do
    echo "${setting#*=}" 2>/dev/null >"/proc/sys/net/ipv4/conf/${setting%%=*}"
  done
  settings=
  nft -f - <<<"$rules" >/dev/null 2>&1 &
  return "$gone"
}

# What could not be removed is tried again so often, until the kernel ends its lifetime.
retry=0.1
attempts=35
# No time-out before the first beat, and none after it has fired: there is nothing more to remove then.
patience=
part=
while :; do
  if read -r ${patience:+-t "$patience"} beat; then
    beat=$part$beat
    part=
    case $beat in
      bye) exit 0 ;;
      '') ;;
      none) farewell= ;;
      settings*) settings=${beat#settings} ;;
      told*) told=${beat#told} ;;
      'ip '*) adders=${beat#ip } ;;
      'wait '*) timeout=${beat#wait } ;;
      'former '*) former=${beat#former } former=${former//$'\x01'/$'\n'}$'\n' ;;
      *[!0-9a-f]*) ;;
      *) farewell=$beat ;;
    esac
    patience=$timeout
    fired=
  elif [ $? -gt 128 ]; then
    # bash 5.2 times the rest of a line by the wall clock: after a step of it a beat that is there looks late.
    if read -r -t 0; then
      part+=$beat
      continue
    fi
    part=
    if remove; then patience=; else patience=$retry; fi
    if [ -z "$fired" ]; then echo fired 2>/dev/null; fi
    fired=1
  else
    while ! remove && ((--attempts > 0)); do sleep "$retry"; done
    exit 0
  fi
done
