#!/bin/sh
# Provisions a load balancer: lb.sh ADDRESS. The secret was uploaded before.
set -eu
interface=$(ip -oneline -4 address show to "$1" | awk '{ print $2; exit }')
[ -n "$interface" ] || { echo "no interface has the address $1" >&2; exit 1; }
# Boxes name their second interface eth1, enp0s8, ens6 …
sed "s/eth1/$interface/" /tandem/vagrant/tandem.yaml >/tmp/tandem.yaml
/tandem/scripts/install --config /tmp/tandem.yaml --secret /tmp/tandem.secret
rm -f /tmp/tandem.yaml /tmp/tandem.secret
# So that `lbctl` needs no sudo (from the next login on).
usermod -aG tandem vagrant
