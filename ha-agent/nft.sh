#!/usr/bin/env bash
# Runs nft, for a process that is too large to be forked while its heartbeats are due.
#
# For each line "TIMEOUT_SECONDS SCRIPT" on standard input, in which \x01 stands for a new line, it prints the exit code of
# nft (127: there is none; 137: it took too long) and the first line of its complaint. It ends with its input.
export LC_ALL=C
trap '' INT HUP QUIT PIPE

# Later than the agent itself: what it has to say to the peer does not wait for this. Where a service may not change
# priorities, nice would complain in the place of nft.
later=()
if [[ -z $(nice -n 5 true 2>&1) ]]; then later=(nice -n 5); fi

while IFS=' ' read -r timeout script; do
  why=$("${later[@]}" timeout -s KILL "$timeout" nft -f - <<<"${script//$'\x01'/$'\n'}" 2>&1 >/dev/null)
  echo "$? ${why%%$'\n'*}" 2>/dev/null
done
