import t, { type Test } from 'tap';
import { Machine } from './machine.ts';

const CONFIG = `cluster:
  name: shop
  secret_file: secret
  nodes: { lb1: { address: 127.0.0.11 }, lb2: { address: 127.0.0.12 } }
ha:
  vips: [{ address: 192.0.2.100/24, interface: lo }]
frontends: { web: { bind: ["*:80"], mode: http, pool: web } }
pools: { web: { backends: { s1: { address: 127.0.0.21:9000 } } } }
`;

export async function machineWith(t: Test): Promise<Machine> {
  const machine = await Machine.start(t);
  machine.run(`cat > /root/pair.yaml <<'END'\n${CONFIG}END`);
  return machine;
}

export const INSTALL = '/tree/scripts/install --config /root/pair.yaml --new-secret';

let installed: Promise<Machine> | undefined;

/** A machine on which the pair is installed: once in this process, and each begins with what that wrote. */
export async function installedMachine(t: Test): Promise<Machine> {
  installed ??= install();
  return (await installed).copy(t);
}

async function install(): Promise<Machine> {
  const machine = await machineWith(t);
  t.match(machine.run(INSTALL), { code: 0 }, 'the pair is installed');
  machine.keep();
  return machine;
}

/** Everything that an install may leave on a machine. */
export const TRACES =
  'ls -d /opt/tandem* /etc/tandem /usr/local/bin/lbctl /etc/sysctl.d/60-tandem.conf /etc/logrotate.d/tandem ' +
  '/usr/local/lib/systemd/system/lbd.service /etc/systemd/system/*/lbd.service 2>/dev/null; ' +
  'getent passwd tandem-lb';

/** As the unit of lbd starts it. */
export const AS_LBD = 'setpriv --reuid tandem-lb --regid tandem-lb --init-groups';
export const AS_AGENT = 'setpriv --reuid tandem-ha --regid tandem-ha --init-groups';

export const OWNERS =
  'stat -c "%a %U:%G %n" /etc/tandem /etc/tandem/tandem.yaml /etc/tandem/secret /etc/tandem/secret.keys /etc/tandem/secret.keys/* ' +
  '/run/tandem /run/tandem/*';
/** Who may read what, and who may reach which socket. */
export const SPLIT = `750 root:tandem-conf /etc/tandem
640 root:tandem-conf /etc/tandem/tandem.yaml
600 root:root /etc/tandem/secret
755 root:root /etc/tandem/secret.keys
640 root:tandem-ha /etc/tandem/secret.keys/heartbeat.key
640 root:tandem-lb /etc/tandem/secret.keys/sync.key
640 root:tandem-ha /etc/tandem/secret.keys/witness.key
755 root:root /run/tandem
2750 tandem-ha:tandem /run/tandem/ha
2750 tandem-lb:tandem /run/tandem/lb
2750 tandem-lb:tandem-ha /run/tandem/live
755 root:root /run/tandem/net
`;

/** systemd as far as the installer asks: it runs, and so does lbd; `lbctl` tells the role. */
export const RUNNING = `mkdir -p /run/systemd/system
cat > /usr/bin/systemctl.new <<'END'
#!/bin/sh
echo "$@" >> /root/systemctl.log
END
chmod +x /usr/bin/systemctl.new; mv /usr/bin/systemctl.new /usr/bin/systemctl
printf '#!/bin/sh\\n:\\n' > /lib/systemd/systemd-sysctl`;
