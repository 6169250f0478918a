import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import type { LbdLiveMessage } from '../../../common/control.ts';
import { monotonicMs } from '../../../common/events.ts';
import { LiveServer } from '../../../lbd/control/live.ts';
import { tempDir } from '../../common/temp-dir.ts';

const READY = { ready: true, healthy: true, sync: 'synced', why: '' } as const;
const STARTING = { ready: false, healthy: false, sync: 'off', why: 'starting' } as const;

class Agent {
  readonly socket: Socket;
  readonly #lines: AsyncIterator<string>;

  constructor(path: string) {
    this.socket = connect(path);
    this.#lines = createInterface(this.socket)[Symbol.asyncIterator]();
  }

  /** The next message; undefined at the end. */
  async next(): Promise<LbdLiveMessage | undefined> {
    const { value, done } = await this.#lines.next();
    return done ? undefined : JSON.parse(value);
  }

  say(message: unknown): void {
    this.socket.write(typeof message === 'string' ? message : `${JSON.stringify(message)}\n`);
  }
}

async function serve(t: Test) {
  const path = join(tempDir(t), 'lbd-live.sock');
  const roles: string[] = [];
  const troubles: string[] = [];
  const carried: Buffer[] = [];
  const server = new LiveServer({
    onRole: ({ role, epoch, finishing }) => roles.push(`${role} ${epoch}${finishing ? ` ${finishing}` : ''}`),
    onHeartbeat: (datagram) => carried.push(datagram),
    maxAgeMs: () => 60_000,
    onTrouble: (text) => troubles.push(text),
  });
  await server.listen(path);
  t.teardown(() => server.close());
  const agent = () => {
    const it = new Agent(path);
    t.teardown(() => it.socket.destroy());
    return it;
  };
  return { path, server, roles, carried, troubles, agent };
}

t.test('tells its state at once and at every change, not at none', async (t) => {
  const { server, agent } = await serve(t);
  const a = agent();
  t.same(await a.next(), { type: 'state', ...STARTING, pid: process.pid });
  server.setState(READY);
  server.setState({ ...READY });
  server.setState({ ...READY, healthy: false, why: 'no pool' });
  t.same(await a.next(), { type: 'state', ...READY, pid: process.pid });
  t.same(await a.next(), { type: 'state', ...READY, pid: process.pid, healthy: false, why: 'no pool' });
});

t.test('no text makes a line that an agent of the last release does not read', async (t) => {
  const { server, agent } = await serve(t);
  const a = agent();
  await a.next();
  for (const text of [
    'a-name-of-a-pool, '.repeat(5_000),
    '"\n\x01\ud800'.repeat(5_000),
    '\u{1f600}'.repeat(5_000),
  ]) {
    server.setState({ ...READY, healthy: false, why: text, heartbeats: { up: false, why: text } });
    const heard = await a.next();
    t.match(heard, { type: 'state', healthy: false, heartbeats: { up: false } });
    t.ok(JSON.stringify(heard).length < 4_096);
  }
});

t.test('answers pings with its state and a pong', async (t) => {
  const { agent } = await serve(t);
  const a = agent();
  await a.next();
  a.say('{"type":"ping",');
  a.say('"id":7}\n');
  t.match(await a.next(), { type: 'state' });
  t.same(await a.next(), { type: 'pong', id: 7 });
});

t.test('a node that is ready is promoted at once', async (t) => {
  const { server, agent, roles } = await serve(t);
  server.setState(READY);
  const a = agent();
  await a.next();
  a.say({ type: 'role', group: 'blue', role: 'standby', epoch: 3 });
  a.say({ type: 'role', group: 'blue', role: 'active', epoch: 4 });
  t.same(await a.next(), { type: 'promoted', group: 'blue', epoch: 4 });
  t.same(roles, ['standby 3', 'active 4']);
  t.same(server.roles, [{ group: 'blue', role: 'active', epoch: 4 }]);
});

t.test('a node that starts is promoted when it is ready', async (t) => {
  const { server, agent } = await serve(t);
  const a = agent();
  await a.next();
  a.say({ type: 'role', group: 'blue', role: 'active', epoch: 4 });
  a.say({ type: 'ping', id: 1 });
  t.match(await a.next(), { type: 'state', ready: false });
  t.match(await a.next(), { type: 'pong' });
  server.setState(READY);
  t.match(await a.next(), { type: 'state', ready: true });
  t.same(await a.next(), { type: 'promoted', group: 'blue', epoch: 4 });
});

t.test('who is no longer to be active is not promoted late', async (t) => {
  const { server, agent } = await serve(t);
  const a = agent();
  await a.next();
  a.say({ type: 'role', group: 'blue', role: 'active', epoch: 4 });
  a.say({ type: 'role', group: 'blue', role: 'standby', epoch: 5 });
  a.say({ type: 'ping', id: 1 });
  await a.next();
  await a.next();
  server.setState(READY);
  t.match(await a.next(), { type: 'state', ready: true });
  a.say({ type: 'ping', id: 2 });
  t.match(await a.next(), { type: 'state' });
  t.same(await a.next(), { type: 'pong', id: 2 });
});

t.test('the phases of the end of the active role are told, and answered', async (t) => {
  const { server, agent, roles, troubles } = await serve(t);
  server.setState(READY);
  const a = agent();
  await a.next();
  a.say({ type: 'role', group: 'blue', role: 'standby', epoch: 4, finishing: 'retiring' });
  a.say({ type: 'role', group: 'blue', role: 'standby', epoch: 4, finishing: 'finishing' });
  a.say({ type: 'role', group: 'blue', role: 'standby', epoch: 4 });
  a.say({ type: 'ping', id: 1 });
  await a.next();
  await a.next();
  t.same(roles, ['standby 4 retiring', 'standby 4 finishing', 'standby 4']);
  server.sendRetired('blue', 4);
  t.same(await a.next(), { type: 'retired', group: 'blue', epoch: 4 });
  server.setState({ ...READY, connections: { blue: 2 } });
  t.match(await a.next(), { type: 'state', connections: { blue: 2 } });
  a.say('{"type":"role","group":"blue","role":"standby","epoch":4,"finishing":"never"}\n');
  await once(a.socket, 'close');
  t.match(troubles, [/expected a ping, a role or a heartbeat/]);
});

t.test('each VIP group has its role', async (t) => {
  const { server, agent, roles } = await serve(t);
  const a = agent();
  await a.next();
  a.say({ type: 'role', group: 'blue', role: 'active', epoch: 4 });
  a.say({ type: 'role', group: 'green', role: 'active', epoch: 2 });
  a.say({ type: 'role', group: 'blue', role: 'standby', epoch: 5 });
  a.say({ type: 'ping', id: 1 });
  await a.next();
  await a.next();
  t.same(roles, ['active 4', 'active 2', 'standby 5']);
  server.setState(READY);
  t.match(await a.next(), { type: 'state', ready: true });
  t.same(await a.next(), { type: 'promoted', group: 'green', epoch: 2 }, 'the one that still waits');
  t.match(server.roles, [
    { group: 'blue', role: 'standby' },
    { group: 'green', role: 'active' },
  ]);
});

t.test('a role that is said again is not news', async (t) => {
  const { server, agent, roles } = await serve(t);
  server.setState(READY);
  const [a, b] = [agent(), agent()];
  await Promise.all([a.next(), b.next()]);
  a.say({ type: 'role', group: 'blue', role: 'active', epoch: 4 });
  t.match(await a.next(), { type: 'promoted' });
  b.say({ type: 'role', group: 'blue', role: 'active', epoch: 4 });
  t.match(await b.next(), { type: 'promoted' });
  t.same(roles, ['active 4']);
});

t.test('heartbeats go both ways, but only to a client that has sent one, and not too late', async (t) => {
  const { server, agent, carried } = await serve(t);
  const [a, former] = [agent(), agent()];
  await Promise.all([a.next(), former.next()]);
  server.sendHeartbeat(Buffer.from('nobody asked'));
  const data = Buffer.from('signed').toString('base64');
  a.say({ type: 'heartbeat', data, at: monotonicMs() - 61_000 });
  a.say({ type: 'heartbeat', data, at: monotonicMs() });
  a.say({ type: 'ping', id: 1 });
  t.match(await a.next(), { type: 'state' });
  t.match(await a.next(), { type: 'pong' });
  t.same(carried, [Buffer.from('signed')]);
  server.sendHeartbeat(Buffer.from('answer'));
  t.match(await a.next(), { type: 'heartbeat', data: Buffer.from('answer').toString('base64') });
  former.say({ type: 'ping', id: 2 });
  t.match(await former.next(), { type: 'state' }, 'an agent of the last release hears none');
  t.match(await former.next(), { type: 'pong' });
});

t.test('nonsense ends the connection, and others go on', async (t) => {
  const { server, agent, troubles } = await serve(t);
  const witness = agent();
  await witness.next();
  const nonsense = [
    'hello\n',
    'null\n',
    '{"type":"ping"}\n',
    '{"type":"ping","id":-1}\n',
    '{"type":"ping","id":1.5}\n',
    '{"type":"role","group":"blue","role":"king","epoch":1}\n',
    '{"type":"role","group":"blue","role":"active"}\n',
    '{"type":"heartbeat","data":"","at":1}\n',
    '{"type":"heartbeat","data":"AAAA"}\n',
    `{"type":"heartbeat","data":"${'A'.repeat(1604)}","at":1}\n`,
    `{"type":"ping","id":1,"x":"${'x'.repeat(2100)}"}\n`,
    'x'.repeat(2100),
  ];
  for (const line of nonsense) {
    const a = agent();
    await a.next();
    a.say(line);
    t.equal(await a.next(), undefined, `ended after ${line.slice(0, 40).trim()}`);
  }
  t.equal(troubles.length, nonsense.length);
  server.setState(READY);
  t.match(await witness.next(), { type: 'state', ready: true });
});

t.test('more clients than anyone needs are refused', async (t) => {
  const { agent, troubles } = await serve(t);
  for (let i = 0; i < 8; i++) t.match(await agent().next(), { type: 'state' });
  const ninth = agent();
  ninth.socket.on('error', () => {});
  t.equal(await ninth.next(), undefined);
  t.match(troubles, [/8 are connected/]);
});

t.test('close ends every connection and removes the file', async (t) => {
  const { path, server, agent } = await serve(t);
  t.equal(statSync(path).mode & 0o777, 0o660);
  const a = agent();
  await a.next();
  const closed = once(a.socket, 'close');
  await server.close();
  await closed;
  t.notOk(existsSync(path));
});
