/** Runs inside a network namespace of its own, see `heartbeat-path.test.ts`; prints one JSON line a finding. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import type { PathConfig } from '../../common/model.ts';
import { HeartbeatPath } from '../../ha-agent/heartbeat-path.ts';
import { until } from '../../scripts/lab/wait.ts';

// It adds interfaces: never on the machine itself.
if (process.env.TANDEM_SCENE !== 'own namespace') throw new Error('run heartbeat-path.test.ts instead');

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
const tell = (name: string, value: unknown) => console.log(JSON.stringify([name, value]));
const NOBODY = 65534;

for (const [one, other] of [
  ['eth1', 'wire1'],
  ['eth2', 'wire2'],
] as const) {
  ip('link', 'add', one, 'type', 'veth', 'peer', 'name', other);
  for (const name of [one, other]) ip('link', 'set', name, 'up', 'addrgenmode', 'eui64');
}
ip('link', 'set', 'lo', 'up');
await until(
  'link-local addresses',
  () => !/tentative/.test(ip('addr')) && ip('-6', 'addr', 'show', 'dev', 'wire2').includes('fe80'),
);

function path(config: PathConfig, selfAddress = '127.0.0.1', peerAddress = '127.0.0.2') {
  const bus = new EventEmitter();
  const heard: string[] = [];
  const path = new HeartbeatPath({
    config,
    selfAddress,
    peerAddress,
    vips: new Set(),
    onDatagram: (data, from) => {
      heard.push(`${data} from ${from?.split('%')[0]}`);
      bus.emit('heard');
    },
    onRefused: () => {},
    onState: () => {},
  });
  return { path, heard, next: () => once(bus, 'heard') };
}

const group = (device: string): PathConfig => ({
  type: 'multicast',
  group: 'ff02::84',
  port: 7470,
  interface: device,
});
const addressOf = (device: string) => /inet6 (fe80\S+)\//.exec(ip('addr', 'show', 'dev', device))![1];

const [near, far, elsewhere] = ['eth1', 'wire1', 'wire2'].map((device) => path(group(device)));
for (const { path } of [near!, far!, elsewhere!]) await path.open();
tell(
  'opened',
  [near!, far!, elsewhere!].map(({ path }) => path.why),
);
for (const [from, to, device] of [
  [near!, far!, 'eth1'],
  [far!, near!, 'wire1'],
] as const) {
  const next = to.next();
  tell('taken', await from.path.send(Buffer.from('beat')));
  await next;
  tell(`heard over the link from ${device}`, to.heard.at(-1) === `beat from ${addressOf(device)}`);
}
// Both were delivered at once: what the other link hears would be there by now.
tell('heard on another link', elsewhere!.heard);

const unicast = path({ type: 'unicast', port: 7471 });
await unicast.path.open();
const peer = path({ type: 'unicast', port: 7471 }, '127.0.0.2', '127.0.0.1');
await peer.path.open();
// The kernel spreads datagrams over sockets that share a port by where they come from.
for (let i = 0; i < 32; i++) {
  const stranger = createSocket('udp4');
  const next = unicast.next();
  stranger.send(`farewell ${i}`, 7471, '127.0.0.1');
  await next;
  stranger.close();
}
const next = unicast.next();
await peer.path.send(Buffer.from('beat'));
await next;
tell('heard on both sockets', unicast.heard.length);

const steal = (type: string, address: string, port: number) => `
  const socket = require('node:dgram').createSocket({ type: '${type}', reuseAddr: true, reusePort: REUSE });
  socket.on('error', ({ code }) => console.log(code));
  socket.bind(${port}, '${address}', () => { console.log('taken'); socket.close(); });`;
for (const [type, address, port] of [
  ['udp4', '127.0.0.1', 7471],
  ['udp6', 'ff02::84%eth1', 7470],
] as const)
  for (const reuse of ['true', 'false']) {
    const argv = ['-e', steal(type, address, port).replace('REUSE', reuse)];
    const { stdout, error } = spawnSync(process.execPath, argv, { uid: NOBODY, encoding: 'utf8' });
    tell(
      `another user takes port ${port}, reusePort ${reuse}`,
      error === undefined ? stdout.trim() : 'no other user',
    );
  }
for (const { path } of [near!, far!, elsewhere!, unicast, peer]) await path.close();
