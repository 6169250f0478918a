# Sourced by scripts/demo and scripts/test: makes sure of the npm packages and the programs of the lab.
# Needs only sh, Node (any version that npm 11 runs on) and npm. The tree's own Node comes with the npm packages.

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# Installs what package-lock.json names, when there is nothing yet or the lock file is newer.
prepare_npm() {
  if [ -x node_modules/.bin/node ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]; then return; fi
  command -v npm >/dev/null || die 'npm is missing: install Node and npm first'
  say 'Installing npm packages …'
  if npm ci --no-audit --no-fund --loglevel=error >/dev/null 2>&1; then return; fi
  # npm ci insists on lock entries even for packages of other platforms, which some registries do not have;
  # npm install takes the same versions from the lock file without them.
  npm install --no-save --no-audit --no-fund --loglevel=error >&2 || die 'npm could not install the packages'
}

# prepare_tools PROGRAM:PACKAGE …: installs missing programs on Debian as root; else names them and goes on.
prepare_tools() {
  missing=''
  for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
  done
  if [ -z "$missing" ]; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "Installing Debian packages:$missing …"
    # shellcheck disable=SC2086 # a list of words on purpose
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } \
      >/dev/null || say "apt-get could not install:$missing"
  else
    say "Missing programs; on Debian or Ubuntu: sudo apt-get install$missing"
  fi
}

LAB_TOOLS='ip:iproute2 arping:iputils-arping nft:nftables unshare:util-linux setpriv:util-linux'
