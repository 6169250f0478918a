#!/usr/bin/env bash
# Asks whether addresses beyond the peer can be reached. One long-lived shell, so that the agent forks nothing.
#
#   witness.sh TIMEOUT_SECONDS [TOOL INTERFACE ADDRESS]...
#
# For each number on standard input it asks all addresses at once and prints a line for each: NUMBER ADDRESS CODE.
# TOOL is arping (a neighbour) or ping; an empty INTERFACE leaves it to the routes. CODE 0: it answers. 126 and 127: it
# cannot be asked, because the program or the permission is missing. Else: no answer. It ends with its input.
export LC_ALL=C
trap '' INT HUP QUIT PIPE

timeout=$1
shift
addresses=("$@")

ask() {
  local number=$1 tool=$2 interface=$3 address=$4 trouble code
  if [ "$tool" = arping ]; then
    trouble=$(timeout "$timeout" arping -q -f -I "$interface" "$address" 2>&1 >/dev/null)
  else
    trouble=$(timeout "$timeout" ping -n -q -c 1 ${interface:+-I "$interface"} "$address" 2>&1 >/dev/null)
  fi
  code=$?
  if [[ $trouble == *'not permitted'* ]]; then code=126; fi
  echo "$number $address $code" 2>/dev/null
}

while read -r number; do
  for ((i = 0; i < ${#addresses[@]}; i += 3)); do
    ask "$number" "${addresses[@]:i:3}" </dev/null &
  done
done
