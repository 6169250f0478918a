# shellcheck shell=sh
# Sourced by scripts/install: the users of a node, what is theirs, and the move from releases whose daemons were one user, tandem.

tmpfiles=/etc/tmpfiles.d/tandem.conf
# What the next agent is to restore, where the former one was killed.
restored='former-settings former-routes'

# put_users TREE FILE…: makes the users and groups of these files that are missing.
put_users() {
  tree=$1
  shift
  for file; do
    told=$(systemd-sysusers "$tree/scripts/systemd/$file" 2>&1) || die "users could not be made (systemd-sysusers $file): $told"
  done
}

# owned_paths TREE CONFIG: "secret PATH" and "tls PATH", a line each.
owned_paths() { node "$1" "$1/scripts/installer/owned-paths.ts" "$2"; }

# was_one_user UNITS: whether the units of a release are there whose daemons were one user.
was_one_user() { grep -qs '^User=tandem$' "$1/lbd.service"; }

# unreadable_tls TREE CONFIG: a line for each file of a certificate that lbd could not read once files of the group tandem are
# handed to it. With that group's rights in addition it reads what will be its own.
unreadable_tls() {
  owned_paths "$1" "$2" | sed -n 's/^tls //p' | while IFS= read -r path; do
    [ -e "$path" ] || continue
    setpriv --reuid tandem-lb --regid tandem-lb --groups tandem-conf,tandem --bounding-set -all test -r "$path" ||
      printf '%s is not readable for lbd: chown root:tandem-lb %s && chmod 0640 %s\n' "$path" "$path" "$path"
  done
}

# own_config TREE CONFIG: who may read what of /etc/tandem. The daemons read keys that derive from a secret, never the secret.
own_config() {
  chown root:tandem-conf /etc/tandem
  chmod 0750 /etc/tandem
  # What one user could read by its group; links are left alone.
  find /etc/tandem -mindepth 1 -group tandem \( -type f -o -type d \) -exec chgrp tandem-conf {} +
  chown root:tandem-conf "$2"
  chmod 0640 "$2"
  [ ! -e /etc/tandem/secret ] || own_secret /etc/tandem/secret
  owned_paths "$1" "$2" | while IFS=' ' read -r kind path; do
    case $kind in
    secret) [ ! -f "$path" ] || own_secret "$path" ;;
    tls) give_group tandem-lb "$path" tandem tandem-conf ;;
    esac
  done
}

own_secret() {
  chown root:root "$1"
  chmod 0600 "$1"
}

# give_group GROUP PATH FORMER…: where PATH, or a folder above it, has one of the former groups. The folders of /etc/tandem itself
# stay with all services.
give_group() {
  group=$1
  shift
  # A link has folders of its own above it.
  for at in "$1" "$(readlink -f "$1")"; do
    while [ -e "$at" ] && [ "$at" != / ] && [ "$at" != /etc/tandem ]; do
      case $at in /etc/tandem/*) [ -d "$at" ] || regroup "$group" "$at" "$@" ;; *) regroup "$group" "$at" "$@" ;; esac
      at=$(dirname "$at")
    done
  done
}

# regroup GROUP PATH _ FORMER…
regroup() {
  wanted=$1
  it=$2
  shift 3
  for former; do
    [ "$(stat -L -c %G "$it")" != "$former" ] || chgrp "$wanted" "$it"
  done
}

# own_state: what the daemon of a former release has left is lbd's now, and the agent's.
own_state() {
  for folder in /var/lib/tandem /var/log/tandem; do
    [ ! -d "$folder" ] || chown -hR tandem-lb:tandem-lb "$folder"
  done
  # Of a former release it is the daemons': once root's, what they left there leads nowhere else.
  if [ -d /run/tandem ]; then
    chown -h root:root /run/tandem && chmod 0755 /run/tandem && find /run/tandem -mindepth 1 -maxdepth 1 -type l -delete || return 1
  fi
  systemd-tmpfiles --create "$tmpfiles" || return 1
  rm -f /run/tandem/*.sock
  for left in $restored; do
    [ ! -f "/run/tandem/$left" ] || { mv "/run/tandem/$left" /run/tandem/ha/ && chown -h tandem-ha:tandem-ha "/run/tandem/ha/$left"; }
  done
}

# give_back CONFIG TREE: as a release of one user wants it, when the new one does not start.
give_back() {
  rm -f "$tmpfiles"
  chown root:tandem /etc/tandem
  find /etc/tandem -mindepth 1 \( -group tandem-conf -o -group tandem-lb \) \( -type f -o -type d \) ! -path "*.keys/*" -exec chgrp tandem {} +
  chown root:root "$1"
  chmod 0644 "$1"
  owned_paths "$2" "$1" | while IFS=' ' read -r kind path; do
    case $kind in
    secret) [ ! -f "$path" ] || { chown root:tandem "$path" && chmod 0640 "$path"; } ;;
    tls) give_group tandem "$path" tandem-lb ;;
    esac
  done
  for left in $restored; do
    [ ! -f "/run/tandem/ha/$left" ] || mv "/run/tandem/ha/$left" /run/tandem/
  done
  rm -rf /run/tandem/lb /run/tandem/ha /run/tandem/live /run/tandem/net
  chmod 0750 /run/tandem
  for folder in /run/tandem /var/lib/tandem /var/log/tandem; do
    [ ! -d "$folder" ] || chown -hR tandem:tandem "$folder"
  done
}
