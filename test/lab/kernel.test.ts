import { writeFileSync } from 'node:fs';
import t from 'tap';
import { ADDRESS, BACKENDS, CLIENT_ADDRESSES, VIP } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { ECHO_PORT } from '../../scripts/lab/pair-config.ts';
import { until } from '../../scripts/lab/wait.ts';
import { CHECKS, Clients, ONE_OF_A_PAIR, setUp } from './kernel-node.ts';

const PORTS = { turn: 5000, hash: 5001, user: 5002, stick: 5003 } as const;
type Name = keyof typeof PORTS;

const backends = `{ ${BACKENDS.map((name) => `${name}: { address: "${ADDRESS[name]}:${ECHO_PORT}" }`).join(', ')} }`;

function config(engine = 'kernel'): string {
  const pool = (name: string, settings: string, drain = '1h') =>
    `  ${name}: { ${settings}, drain_timeout: ${drain}, health: ${CHECKS}, backends: ${backends} }\n`;
  const frontend = (name: Name, settings: string) =>
    `  ${name}: { bind: ["*:${PORTS[name]}"], mode: tcp, pool: ${name}${settings} }\n`;
  return `${ONE_OF_A_PAIR}admin: { metrics: false }
frontends:
${frontend('turn', `, engine: ${engine}`)}${frontend('hash', '')}${frontend('user', '')}${frontend('stick', ', engine: kernel')}pools:
${pool('turn', 'algorithm: round-robin')}${pool('hash', 'algorithm: consistent-hash', '300ms')}${pool('user', 'algorithm: least-connections')}${pool('stick', 'algorithm: random, stick: { source: ip, expire: 10m }')}`;
}

t.test('the kernel balances', { skip: skipLab() }, async (t) => {
  const { lab, node } = await setUp(t, config());
  await node.ready('turn', BACKENDS);
  const clients = new Clients(lab, 'client');

  await t.test('each frontend has the engine that fits, and says why', async (t) => {
    const { frontends, warnings } = await node.status();
    t.match(frontends.turn, { engine: { engine: 'kernel', why: /config/ } });
    t.match(frontends.hash, { engine: { engine: 'kernel', why: /nothing/ } });
    t.match(frontends.user, { engine: { engine: 'user', why: /least-connections/ } });
    t.strictSame(
      warnings.filter((line) => /kernel|frontend/.test(line)),
      [],
    );
    t.match(await node.lbctl('status'), /hash: engine kernel, nothing/);
  });

  await t.test('round robin, and the backends see the VIP', async (t) => {
    const seen = [];
    for (let i = 0; i < 6; i++) seen.push((await clients.open(PORTS.turn))[1]);
    t.strictSame(seen.slice(0, 3).toSorted(), [...BACKENDS]);
    t.strictSame(seen.slice(3), seen.slice(0, 3), 'the turns repeat');
    t.equal(await node.flows(PORTS.turn), 6);
    const at = await lab.exec('s1', ['ss', '-Htn', 'state', 'established', `dst ${VIP}`]);
    t.match(at, VIP);
  });

  await t.test('consistent hash and source stickiness go by the address', async (t) => {
    for (const name of ['hash', 'stick'] as const) {
      const seen = new Set<string>();
      for (const address of CLIENT_ADDRESSES.slice(0, 12)) {
        const [, first] = await clients.open(PORTS[name], address);
        const [, again] = await clients.open(PORTS[name], address);
        t.equal(again, first, `${name}: ${address}`);
        seen.add(first);
      }
      t.ok(seen.size > 1, `${name}: ${[...seen].join()}`);
    }
  });

  await t.test('a client on the node itself, one on a backend, and one of lbd’s own address', async (t) => {
    const before = await node.flows(PORTS.turn);
    for (const host of ['lb1', 's1', 's2', 's3'] as const) {
      const there = new Clients(lab, host);
      const [id] = await there.open(PORTS.turn);
      await there.echoes(id, 'hello');
    }
    t.equal(await node.flows(PORTS.turn), before + 4);
    const [id] = await clients.open(PORTS.turn, '', ADDRESS.lb1);
    await clients.echoes(id, 'by-lbd');
    t.equal(await node.flows(PORTS.turn), before + 4, 'lbd itself serves the node’s own address');
  });

  await t.test('a drain: open flows go on, new ones go elsewhere', async (t) => {
    const opened = await Promise.all([1, 2, 3].map(() => clients.open(PORTS.turn)));
    const [id] = opened.find(([, backend]) => backend === 's2')!;
    await node.lbctl('drain', 'turn/s2');
    await node.ready('turn', ['s1', 's3']);
    const seen = await Promise.all([1, 2, 3, 4].map(() => clients.open(PORTS.turn)));
    t.strictSame(seen.map(([, backend]) => backend).toSorted(), ['s1', 's1', 's3', 's3']);
    await clients.echoes(id, 'still-here');
    const { s2 } = (await node.status()).pools.turn!.backends;
    t.match(s2, { state: 'draining' });
    t.ok(s2!.active > 0, 'flows in the kernel count');
    await node.lbctl('ready', 'turn/s2');
    await node.ready('turn', BACKENDS);
  });

  await t.test('drain_timeout is over: what is still open is cut', async (t) => {
    const [id, backend] = await clients.open(PORTS.hash);
    await node.lbctl('drain', `hash/${backend}`);
    t.equal(await clients.hears(id, /error/), 'error ECONNRESET');
    await node.lbctl('ready', `hash/${backend}`);
  });

  await t.test('a table that somebody flushed is restored, and reported', async (t) => {
    const [id] = await clients.open(PORTS.turn);
    await lab.exec('lb1', ['nft', 'flush', 'ruleset']);
    await node.tells(/nft \(process \d+\) changed table tandem_lb/);
    await until(
      'the rules are back',
      async () =>
        (await lab.run('lb1', ['nft', 'list', 'chain', 'inet', 'tandem_lb', 'pool/turn'])).code === 0 ||
        undefined,
    );
    await clients.echoes(id, 'again');
    const before = await node.flows(PORTS.turn);
    await clients.open(PORTS.turn);
    t.equal(await node.flows(PORTS.turn), before + 1);
    t.match((await node.status()).warnings, [/another program changed table tandem_lb/]);
  });

  await t.test('lbd is killed: the kernel goes on, and so do flows when lbd is back', async (t) => {
    const [id] = await clients.open(PORTS.turn);
    const [, stuck] = await clients.open(PORTS.stick, CLIENT_ADDRESSES[0]);
    await node.lbd.signal('SIGKILL');
    await clients.echoes(id, 'without-lbd');
    const [other] = await clients.open(PORTS.turn);
    await node.start();
    await node.ready('turn', BACKENDS);
    await clients.echoes(id, 'with-lbd');
    await clients.echoes(other, 'too');
    t.equal((await clients.open(PORTS.stick, CLIENT_ADDRESSES[0]))[1], stuck, 'who was stuck is so still');
    await node.lbd.signal('SIGTERM');
    await clients.echoes(id, 'stopped');
    await node.start();
    await node.ready('turn', BACKENDS);
    await clients.echoes(id, 'started');
  });

  await t.test('a host dies: its clients are reset, those that only wait as well; others stay', async (t) => {
    const opened = await Promise.all([1, 2, 3].map(() => clients.open(PORTS.turn)));
    const dead = opened.find(([, backend]) => backend === 's3')!;
    await lab.cut('s3');
    await node.ready('turn', ['s1', 's2']);
    await clients.hears(dead[0], /error ECONNRESET/);
    await node.tells(/turn\/s3: \d+ flows in the kernel were cut/);
    for (const [id, backend] of opened) if (backend !== 's3') await clients.echoes(id, 'alive');
    t.ok(opened.filter(([id]) => clients.isQuiet(id)).length === 2);
    await lab.heal('s3');
    await node.ready('turn', BACKENDS);
  });

  const move = async (engine: 'kernel' | 'user') => {
    writeFileSync(node.configFile, config(engine));
    await node.lbd.signal('SIGHUP');
    await until(
      `engine ${engine}`,
      async () => (await node.status()).frontends.turn!.engine!.engine === engine,
    );
  };

  await t.test('a live frontend moves to lbd and back', async (t) => {
    const [id] = await clients.open(PORTS.turn);
    const before = await node.flows(PORTS.turn);
    await move('user');
    const [relayed] = await clients.open(PORTS.turn);
    t.equal(await node.flows(PORTS.turn), before);
    await clients.echoes(id, 'in-the-kernel');
    await move('kernel');
    await clients.open(PORTS.turn);
    await clients.echoes(id, 'in-the-kernel-still');
    await clients.echoes(relayed, 'in-lbd');
  });

  await t.test('new connections while a live frontend moves there and back', async (t) => {
    let moving = true;
    let opened = 0;
    const load = (async () => {
      for (; moving; opened++) await clients.open(PORTS.turn);
    })();
    const moved = (async () => {
      await move('user');
      await clients.open(PORTS.turn);
      await move('kernel');
      await clients.open(PORTS.turn);
      moving = false;
    })();
    await Promise.all([load, moved]);
    t.ok(opened > 0, 'each was greeted');
  });

  await t.test('no backend: refused at once', async (t) => {
    for (const host of BACKENDS) await node.lbctl('maint', `turn/${host}`);
    await node.ready('turn', []);
    const id = clients.begin(PORTS.turn);
    t.equal(await clients.hears(id, /./), 'error ECONNREFUSED');
  });
});

t.test('segments of flows that the kernel does not know', { skip: skipLab() }, async (t) => {
  const { lab, node } = await setUp(t, config());
  await node.ready('turn', BACKENDS);
  const clients = new Clients(lab, 'client');
  const forget = () =>
    lab.exec('lb1', ['conntrack', '-D', '-p', 'tcp', '--orig-dst', VIP, '--orig-port-dst', `${PORTS.turn}`]);

  const [reset] = await clients.open(PORTS.turn);
  await forget();
  clients.send(reset, 'anybody');
  t.equal(await clients.hears(reset, /error/), 'error ECONNRESET', 'no agent: the VIP was always here');

  await node.role('standby', 1);
  await until(
    'the VIP is young',
    async () =>
      (await lab.exec('lb1', ['nft', 'list', 'set', 'inet', 'tandem_lb', 'young4'])).includes(VIP) ||
      undefined,
  );
  const [id] = await clients.open(PORTS.turn);
  await forget();
  clients.send(id, 'hello');
  await until('the client repeats what is not answered', async () =>
    /retrans:/.test(await lab.exec('client', ['ss', '-Hti', `dst ${VIP}`])),
  );
  t.ok(clients.isQuiet(id), 'not reset');

  await node.role('active', 2);
  await until('the VIP is young for a while only', async () => {
    const set = await lab.exec('lb1', ['nft', 'list', 'set', 'inet', 'tandem_lb', 'young4']);
    return /expires/.test(set) || !set.includes(VIP);
  });
});
