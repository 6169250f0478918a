# shellcheck shell=sh disable=SC2034,SC3013 # variables are for those who source it; every sh of Debian knows -nt
# Sourced by scripts/demo and scripts/test: makes sure of the npm packages and the programs of the lab.
# Needs only sh, Node (any version that npm 11 runs on) and npm. The tree's own Node comes with the npm packages.

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# Installs what package-lock.json names, when there is nothing yet or the lock file is newer.
prepare_npm() {
  if [ -x node_modules/.bin/node ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]; then
    prepare_node
    return
  fi
  command -v npm >/dev/null || die 'npm is missing: install Node and npm first'
  say 'Installing npm packages …'
  # npm ci insists on lock entries even for packages of other platforms, which some registries do not have;
  # npm install takes the same versions from the lock file without them. No script of a package runs: none of them needs it.
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null 2>&1 ||
    npm install --ignore-scripts --no-save --no-audit --no-fund --loglevel=error >&2 || die 'npm could not install the packages'
  prepare_node
}

# The tree's Node needs two libraries that a minimal Debian does not have.
prepare_node() {
  node_modules/.bin/node --version >/dev/null 2>&1 || install_debian ' libatomic1 libstdc++6'
}

# prepare_tools PROGRAM:PACKAGE …: installs missing programs on Debian as root; else names them and goes on.
prepare_tools() {
  missing=''
  for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
  done
  if [ -n "$missing" ]; then install_debian "$missing"; fi
}

install_debian() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "Installing Debian packages:$1 …"
    # shellcheck disable=SC2086 # a list of words on purpose
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $1; } \
      >/dev/null || say "apt-get could not install:$1"
  else
    say "Missing; on Debian or Ubuntu: sudo apt-get install$1"
  fi
}

LAB_TOOLS='ip:iproute2 arping:iputils-arping ping:iputils-ping ndptool:libndp-tools nft:nftables conntrack:conntrack socat:socat unshare:util-linux setpriv:util-linux'
TEST_TOOLS='curl:curl shellcheck:shellcheck systemd-analyze:systemd logrotate:logrotate ssh-keygen:openssh-client openssl:openssl'
# Big, and what it tests changes seldom.
[ "${CI-}" != true ] || TEST_TOOLS="$TEST_TOOLS vagrant:vagrant"
