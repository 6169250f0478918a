#!/bin/sh
# Provisions the machine with the three backends and the clients, each with addresses of its own.
set -eu
interface=$(ip -oneline -4 address show to 192.168.56.50 | awk '{ print $2; exit }')
/tandem/scripts/install --no-services

cat >/etc/systemd/system/tandem-addresses.service <<END
[Unit]
Description=Addresses of the backends and of the clients
After=network-online.target
Wants=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for n in \$\$(seq 21 23) \$\$(seq 51 89); do ip address replace 192.168.56.\$\$n/24 dev $interface; done'
[Install]
WantedBy=multi-user.target
END
cat >/etc/systemd/system/backend@.service <<'END'
[Unit]
Description=Backend s%i
Requires=tandem-addresses.service
After=tandem-addresses.service
[Service]
ExecStart=/opt/tandem/node_modules/.bin/node /opt/tandem/scripts/lab/origin.ts --name s%i --host 192.168.56.2%i
DynamicUser=yes
Restart=always
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl -q enable --now tandem-addresses backend@1 backend@2 backend@3
