import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CAPABILITY, effectiveCapabilities } from '../../common/capabilities.ts';
import { loadConfig } from '../../common/config.ts';
import { VERSION } from '../../common/version.ts';
import { ADDRESS, BACKENDS, INTERFACE, NODES, PREFIX, VIP } from '../../scripts/lab/hosts.ts';
import { Lab, NODE, ROOT } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { startOrigins } from '../../scripts/lab/origins.ts';
import { ECHO_PORT } from '../../scripts/lab/pair-config.ts';
import { AS_STRANGER } from '../../scripts/lab/stranger.ts';
import { until } from '../../scripts/lab/wait.ts';
import { CHECKS, Clients, ONE_OF_A_PAIR } from './kernel-node.ts';
import { as, LBD, SplitNode } from './split-node.ts';

const PORTS = { turn: 5000, hash: 5001 } as const;

function config(turn: readonly string[] = BACKENDS): string {
  const backends = (names: readonly string[]) =>
    `{ ${names.map((name) => `${name}: { address: "${ADDRESS[name as 's1']}:${ECHO_PORT}" }`).join(', ')} }`;
  return `${ONE_OF_A_PAIR}admin: { metrics: false }
frontends:
  turn: { bind: ["*:${PORTS.turn}"], mode: tcp, pool: turn, engine: kernel }
  hash: { bind: ["*:${PORTS.hash}"], mode: tcp, pool: hash, engine: kernel }
  low: { bind: ["*:81"], mode: tcp, pool: turn, engine: user }
pools:
  turn: { algorithm: round-robin, drain_timeout: 1h, health: ${CHECKS}, backends: ${backends(turn)} }
  hash: { algorithm: consistent-hash, drain_timeout: 300ms, health: ${CHECKS}, backends: ${backends(BACKENDS)} }
`;
}

/** A pair of nodes whose daemons have a user each; nobody but the test moves the VIP. */
async function startNodes(t: Test, turn?: readonly string[]) {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  await startOrigins(lab);
  await lab.exec('lb1', ['ip', 'addr', 'add', `${VIP}/${PREFIX}`, 'dev', INTERFACE]);
  for (const name of NODES) await lab.exec(name, ['tee', '/proc/sys/net/ipv4/ip_forward'], '1');
  const [one, two] = NODES.map((name) => new SplitNode(lab, config(turn), name)) as [SplitNode, SplitNode];
  for (const node of [one, two]) {
    node.startHelper();
    await node.helperSays(/"ready"/);
    await node.start();
  }
  await one.role('active', 1);
  await two.role('standby', 1);
  return { lab, one, two, clients: new Clients(lab, 'client') };
}

const capabilities = (path: string) => effectiveCapabilities(readFileSync(path, 'latin1'));
const bit = (number: number) => 1n << BigInt(number);
const skip = skipLab() || (process.getuid?.() !== 0 && 'other users need root');

t.test('lbd may listen and no more, and the kernel balances', { skip }, async (t) => {
  const { lab, one: node, two, clients } = await startNodes(t, ['s1', 's2']);
  const [lbd, helper] = [node.lbd.pid, node.helperPid];
  await node.ready('turn', ['s1', 's2']);

  await t.test('each process has one capability, and each of its threads no more', async (t) => {
    t.equal(capabilities(`/proc/${helper}/status`), bit(CAPABILITY.netAdmin));
    for (const thread of readdirSync(`/proc/${lbd}/task`))
      t.equal(capabilities(`/proc/${lbd}/task/${thread}/status`), bit(CAPABILITY.netBindService), thread);
    t.not((await lab.run('lb1', [...as(LBD, 'net_bind_service'), 'nft', 'list', 'ruleset'])).code, 0);
  });

  await t.test('connections go through the kernel', async (t) => {
    const { frontends, warnings } = await node.status();
    t.match(frontends.turn, { engine: { engine: 'kernel', why: /config/ } });
    t.strictSame(
      warnings.filter((line) => /kernel|helper|flow/.test(line)),
      [],
    );
    const seen = [];
    for (let i = 0; i < 4; i++) seen.push((await clients.open(PORTS.turn))[1]);
    t.strictSame(seen.toSorted(), ['s1', 's1', 's2', 's2']);
    t.equal(await node.flows(PORTS.turn), 4);
    await until('lbd counts them', async () => (await node.status()).pools.turn!.backends.s1!.active === 2);
  });

  await t.test('a reload with another backend', async () => {
    for (const it of [node, two]) {
      writeFileSync(it.configFile, config());
      await it.lbd.signal('SIGHUP');
    }
    await node.ready('turn', BACKENDS);
  });

  await t.test('a drain, and flows whose time is over', async (t) => {
    const [open] = await clients.open(PORTS.turn);
    await node.lbctl('drain', 'turn/s2');
    await node.ready('turn', ['s1', 's3']);
    await clients.echoes(open, 'still-here');
    await node.lbctl('ready', 'turn/s2');
    const [id, backend] = await clients.open(PORTS.hash);
    await node.lbctl('drain', `hash/${backend}`);
    t.equal(await clients.hears(id, /error/), 'error ECONNRESET');
    await node.lbctl('ready', `hash/${backend}`);
    await node.ready('turn', BACKENDS);
  });

  await t.test('a host dies: its clients are reset', async () => {
    const opened = await Promise.all([1, 2, 3].map(() => clients.open(PORTS.turn)));
    const dead = opened.find(([, backend]) => backend === 's3')!;
    await lab.cut('s3');
    await node.ready('turn', ['s1', 's2']);
    await clients.hears(dead[0], /error ECONNRESET/);
    await lab.heal('s3');
    await node.ready('turn', BACKENDS);
  });

  await t.test('a table that somebody flushed is restored', async () => {
    await lab.exec('lb1', ['nft', 'flush', 'ruleset']);
    await node.tells(/nft \(process \d+\) changed table tandem_lb/);
    await node.ready('turn', BACKENDS);
    await node.warns(/another program changed table tandem_lb/);
  });

  await t.test('lbd is killed, and started again', async () => {
    const [open] = await clients.open(PORTS.turn);
    await node.lbd.signal('SIGKILL');
    await clients.echoes(open, 'without-lbd');
    await node.start();
    await node.role('active', 1);
    await node.ready('turn', BACKENDS);
    await clients.echoes(open, 'with-lbd');
  });

  await t.test(
    'the helper is killed: the rules stay, lbd says so, and all goes on when it is back',
    async (t) => {
      const [open] = await clients.open(PORTS.turn);
      // Nobody has read it, lbd least of all.
      writeFileSync(node.configFile, config(['s1']));
      await node.killHelper();
      await node.warns(/the helper of the kernel engine is gone/);
      await clients.echoes(open, 'without-helper');
      await clients.open(PORTS.turn);
      await node.lbctl('drain', 'turn/s3');
      node.startHelper();
      await node.ready('turn', ['s1', 's2']);
      await node.warns(/helper/, false);
      await clients.echoes(open, 'with-helper');
      writeFileSync(node.configFile, config());
      await node.lbctl('ready', 'turn/s3');
      await node.ready('turn', BACKENDS);
      t.match((await node.status()).frontends.turn, { engine: { engine: 'kernel' } });
    },
  );

  await t.test('who is nobody cannot ask the helper', async (t) => {
    const ask = `require('net').connect(${JSON.stringify(node.socket)}).on('connect', () => console.log('in')).on('error', (error) => console.log(error.code))`;
    t.equal((await lab.run('lb1', [...AS_STRANGER, NODE, '-e', ask])).stdout.trim(), 'EACCES');
  });

  await t.test('an lbd that somebody has taken over changes nothing that is not in the config', async (t) => {
    await node.lbd.signal('SIGTERM');
    const rules = await node.rules();
    const { digest } = loadConfig(node.configFile, { node: 'lb1' });
    const order = { type: 'keep', digest, frontends: ['turn', 'hash'], gates: {}, young: {} };
    const requests = [
      { ...order, frontends: ['low'] },
      { ...order, frontends: ['none'] },
      { ...order, digest: '0'.repeat(64) },
      { ...order, gates: { 'turn/other': [0, 1] } },
      { ...order, young: { '10.9.9.9': null } },
      { type: 'young', young: { '10.9.9.9': 1000 } },
      { type: 'cut', frontend: 'turn', backend: '-F' },
      { type: 'cut', frontend: 'none', backend: 's1' },
    ].map((request, i) => `${JSON.stringify({ id: i + 2, ...request })}\n`);
    const script = [NODE, join(ROOT, 'test/lab/kernel-intruder.ts'), node.socket, VERSION, VIP];
    const { stdout } = await lab.run('lb1', [...as(LBD), ...script], requests.join(''));
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    for (const i of requests.keys()) t.match(answers[i], { id: i + 2, refused: String }, requests[i]!);
    t.strictSame(answers.at(-1), { refused: [1, 2, 3, 4] }, 'flows');
    t.equal(await node.rules(), rules);
    t.notMatch(await lab.exec('lb1', ['conntrack', '-L']), '10.9.9.');
    await node.start();
    await node.ready('turn', BACKENDS);
  });
});

t.test('flows of a pair through helpers: an open connection outlives its node', { skip }, async (t) => {
  const { lab, one, two, clients } = await startNodes(t);
  for (const node of [one, two]) await node.ready('turn', BACKENDS);
  const opened = await Promise.all([1, 2, 3, 4].map(() => clients.open(PORTS.turn)));
  await until('the standby has the flows in its kernel', async () => {
    const { flows } = await two.status();
    if (flows?.state === 'synced' && flows.replica === 4 && flows.flows >= 4) return true;
    throw new Error(JSON.stringify(flows));
  });
  one.lab.killAll('lb1');
  await lab.cut('lb1');
  await two.role('active', 2);
  await lab.exec('lb2', ['ip', 'addr', 'add', `${VIP}/${PREFIX}`, 'dev', INTERFACE]);
  for (const host of ['client', ...BACKENDS] as const) await lab.exec(host, ['ip', 'neigh', 'flush', 'all']);
  for (const [id] of opened) await clients.echoes(id, 'still-here');
  const { flows } = await two.status();
  t.match(flows, { failed: 0 });
});
