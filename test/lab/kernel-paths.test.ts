import t from 'tap';
import { ADDRESS, address6, BACKENDS, INTERFACE, NODES, PREFIX, VIP } from '../../scripts/lab/hosts.ts';
import { type Lab, NODE } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { ECHO_PORT } from '../../scripts/lab/pair-config.ts';
import { until } from '../../scripts/lab/wait.ts';
import { CHECKS, Clients, setUp } from './kernel-node.ts';

const VIP6 = 'fd84::100';
const PORTS = { udp: 5000, six: 5001, plain: 5002, range: 5003 } as const;
/** What the backends answer to datagrams and over IPv6. */
const UDP_PORT = 9002;
const SIX_PORT = 9003;

/** One datagram from a port of its own; what comes back. */
const ASK = `const socket = require('dgram').createSocket('udp4');
const ask = () => socket.send('hello', ${PORTS.udp}, '${VIP}');
const again = setInterval(ask, 2000);
socket.on('message', (text) => { console.log(String(text)); clearInterval(again); socket.close(); });
ask();`;

const pool = (name: string, host: (name: (typeof BACKENDS)[number]) => string, health: string) =>
  `  ${name}: { health: ${health}, backends: { ${BACKENDS.map((it) => `${it}: { address: "${host(it)}" }`).join(', ')} } }\n`;

const CONFIG = `cluster:
  name: lab
  secret_file: secret
  nodes: { ${NODES.map((node) => `${node}: { address: ${ADDRESS[node]} }`).join(', ')} }
ha:
  vips:
    - { address: ${VIP}/${PREFIX}, interface: ${INTERFACE} }
    - { address: "${VIP6}/64", interface: ${INTERFACE} }
sessions: { capacity: 1024 }
workers: 1
admin: { metrics: false }
frontends:
  udp: { bind: ["*:${PORTS.udp}"], mode: udp, pool: udp, engine: kernel }
  six: { bind: ["*:${PORTS.six}"], mode: tcp, pool: six, engine: kernel }
  plain: { bind: ["*:${PORTS.plain}"], mode: tcp, pool: plain, engine: kernel, snat: none }
  range: { bind: ["*:${PORTS.range}-${PORTS.range + 2}"], mode: tcp, pool: plain, engine: kernel }
pools:
${pool('udp', (it) => `${ADDRESS[it]}:${UDP_PORT}`, '{ type: none }')}${pool('six', (it) => `[${address6(it)}]:${SIX_PORT}`, CHECKS)}${pool('plain', (it) => `${ADDRESS[it]}:${ECHO_PORT}`, CHECKS)}`;

async function prepare(lab: Lab): Promise<void> {
  await lab.exec('lb1', ['ip', 'addr', 'add', `${VIP6}/64`, 'dev', INTERFACE, 'nodad']);
  await lab.exec('lb1', ['tee', '/proc/sys/net/ipv6/conf/all/forwarding'], '1');
  for (const name of BACKENDS) {
    lab.spawn(name, ['socat', `UDP4-RECVFROM:${UDP_PORT},fork`, `SYSTEM:cat >/dev/null & echo ${name}`]);
    lab.spawn(name, ['socat', `TCP6-LISTEN:${SIX_PORT},fork,reuseaddr`, `SYSTEM:echo ${name}; exec cat`]);
  }
}

t.test('UDP, IPv6, port ranges, and addresses of clients that stay', { skip: skipLab() }, async (t) => {
  const { lab, node } = await setUp(t, CONFIG, prepare);
  const clients = new Clients(lab, 'client');
  for (const name of ['six', 'plain']) await node.ready(name, BACKENDS);
  const { frontends } = await node.status();
  for (const name of Object.keys(PORTS)) t.equal(frontends[name]?.engine?.engine, 'kernel', name);

  await t.test('datagrams of one client go to one backend, those of three to three', async (t) => {
    for (const name of BACKENDS)
      await until(`${name} listens`, async () =>
        (await lab.exec(name, ['ss', '-Huln'])).includes(`:${UDP_PORT}`),
      );
    const ask = async () => (await lab.exec('client', [NODE, '-e', ASK])).trim();
    const seen = [await ask(), await ask(), await ask()];
    t.strictSame(seen.toSorted(), [...BACKENDS]);
  });

  await t.test('IPv6', async (t) => {
    const seen = [];
    for (let i = 0; i < 3; i++) {
      const [id, backend] = await clients.open(PORTS.six, '', VIP6);
      await clients.echoes(id, 'hello');
      seen.push(backend);
    }
    t.strictSame(seen.toSorted(), [...BACKENDS]);
    t.match(await lab.exec('s1', ['ss', '-6Htn', 'state', 'established']), VIP6, 'which the backends see');
  });

  await t.test('the backends see the client, and answer through the VIP', async (t) => {
    for (const name of BACKENDS)
      await lab.exec(name, ['ip', 'route', 'add', `${ADDRESS.client}/32`, 'via', VIP]);
    const [id, backend] = await clients.open(PORTS.plain);
    await clients.echoes(id, 'hello');
    const peers = await lab.exec(backend as 's1', ['ss', '-Htn', 'state', 'established']);
    t.match(peers, `${ADDRESS.client}:`);
    for (const name of BACKENDS) await lab.exec(name, ['ip', 'route', 'del', `${ADDRESS.client}/32`]);
  });

  await t.test('each port of a range', async (t) => {
    for (const port of [0, 1, 2].map((i) => PORTS.range + i)) {
      const [id] = await clients.open(port);
      await clients.echoes(id, 'hello');
      t.equal(await node.flows(port), 1);
    }
  });

  await t.test('an IPv6 host dies: its clients are reset', async (t) => {
    const opened = await Promise.all([1, 2, 3].map(() => clients.open(PORTS.six, '', VIP6)));
    const dead = opened.find(([, backend]) => backend === 's2')!;
    await lab.cut('s2');
    t.equal(await clients.hears(dead[0], /error/), 'error ECONNRESET');
  });
});
