#!/usr/bin/env bash
# Removes the VIPs when the agent dies or hangs, so that they are gone before the peer adds them.
#
#   guardian.sh TIMEOUT_SECONDS [ADDRESS/PREFIX INTERFACE]...
#
# The agent writes a line (a beat) on standard input with every round of heartbeats. End of file means that it
# died, missed beats that it hangs or is stopped; both remove the addresses. After missed beats it says "fired"
# on standard output and waits for the next beat; after end of file it ends. The line "bye" relieves it:
# another guardian has taken over.
#
# It runs in a session of its own and outlives signals meant for the agent. The loop uses builtins only: a
# guardian that must fork to notice something is late on the machine that is in trouble.
trap '' TERM INT HUP QUIT PIPE

timeout=$1
shift
lines=''
while [ $# -ge 2 ]; do
  lines+="addr del $1 dev $2"$'\n'
  shift 2
done

remove() {
  ip -force -batch - <<<"$lines" >/dev/null 2>&1
}

# No time-out before the first beat, and none after it has fired: there is nothing more to remove then.
armed=
while :; do
  if read -r ${armed:+-t "$timeout"} beat; then
    [ "$beat" = bye ] && exit 0
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
