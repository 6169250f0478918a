import { writeFileSync } from 'node:fs';
import t from 'tap';
import { ADDRESS, VIP } from '../../scripts/lab/hosts.ts';
import { Lab, NODE, ROOT } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { startOrigins } from '../../scripts/lab/origins.ts';
import { MULTICAST_PORT, pairConfig, TCP_PORT, UNICAST_PORT } from '../../scripts/lab/pair-config.ts';
import { until } from '../../scripts/lab/wait.ts';
import type { Attempt } from './attempts.ts';
import { AS, ID, InstalledNode, stateOf, type User } from './installed-node.ts';

const SERVICES = `frontends:
  web: { bind: ["*:443"], mode: http, pool: web, tls: { certificates: [{ cert: tls/site.crt, key: tls/site.key }] } }
  echo: { bind: ["*:${TCP_PORT}"], mode: tcp, pool: echo, engine: kernel }
  own: { bind: ["*:5001"], mode: tcp, pool: echo, engine: user }
pools:
  web: { health: { type: tcp }, backends: { s1: { address: "${ADDRESS.s1}:9000" } } }
  echo: { algorithm: round-robin, health: { type: tcp }, backends: { s1: { address: "${ADDRESS.s1}:9001" } } }
`;
const SYNC_PORT = 7472;
/** The one of the two that listens for the session sync. */
const NODE_NAME = 'lb2';

/** What works, and for whom; whatever is not here must fail for everybody but the owner of what it is about. */
const ALLOWED: Readonly<Record<string, readonly User[]>> = {
  'read the config': ['tandem-lb', 'tandem-ha', 'tandem-net'],
  'read the key of the heartbeats': ['tandem-ha'],
  'read the key of the leases': ['tandem-ha'],
  'read the key of the session sync': ['tandem-lb'],
  'read the key of a certificate': ['tandem-lb'],
  'connect to the control socket of lbd': ['an operator'],
  'connect to the control socket of ha-agent': ['an operator'],
  'connect to the liveness socket of lbd': ['tandem-ha'],
  'connect to the socket that shows the process of lbd': ['tandem-ha'],
  'connect to the helper of the kernel engine': ['tandem-lb'],
  'listen on a port below 1024': ['tandem-lb'],
  'change an address': ['tandem-ha', 'tandem-net'],
  'change a rule': ['tandem-ha', 'tandem-net'],
  'listen to all frames': ['tandem-ha'],
};

interface Case {
  readonly what: string;
  readonly attempt: Attempt;
  /** Whose it is: that one is not tried. */
  readonly owner?: User | undefined;
}

const skip = skipLab() || (process.getuid?.() !== 0 && 'other users need root');

t.test('what each user of a node can read, signal, bind, connect to and write', { skip }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  await startOrigins(lab);
  await lab.exec(NODE_NAME, ['tee', '/proc/sys/net/ipv4/ip_forward'], '1');
  const node = new InstalledNode(lab, NODE_NAME, pairConfig({ services: SERVICES }));
  await node.start();

  await t.test('nobody reads the secret, and all three do their work', async (t) => {
    const [agent, lbd] = await Promise.all([node.agentStatus(), node.lbdStatus()]);
    t.ok(agent.vips.some(({ address, held }) => held && address.startsWith(`${VIP}/`)));
    t.strictSame(
      agent.warnings.filter((line) => /permission|EACCES|EPERM|kept/.test(line)),
      [],
    );
    t.strictSame(
      lbd.warnings.filter((line) => /permission|EACCES|EPERM|kept|helper/.test(line)),
      [],
    );
  });

  const guardian = lab.commands(NODE_NAME).find((line) => line.split(' ')[2]?.endsWith('guardian.sh'));
  const processes: readonly (readonly [name: string, pid: number, owner: User | undefined])[] = [
    ['lbd', node.daemons.lbd.pid, 'tandem-lb'],
    ['ha-agent', node.daemons['ha-agent'].pid, 'tandem-ha'],
    ['the guardian', Number(guardian?.split(' ', 1)[0]), 'tandem-ha'],
    ['the helper', node.helperPid, 'tandem-net'],
  ];
  const cases = casesOf(node, processes);

  await t.test('what runs is whose it must be', async (t) => {
    const uids = { 'tandem-lb': ID.lb, 'tandem-ha': ID.ha, 'tandem-net': ID.net } as const;
    for (const [name, pid, owner] of processes) {
      const status = await lab.exec(NODE_NAME, ['cat', `/proc/${pid}/status`]);
      const id = uids[owner as keyof typeof uids];
      t.match(status, new RegExp(`^Uid:\\t${id}\\t${id}\\t${id}\\t${id}$`, 'm'), name);
    }
  });

  const list: string[] = [];
  for (const [user, prefix] of Object.entries(AS) as [User, readonly string[]][])
    await t.test(user, async (t) => {
      const tried = cases.filter(({ owner }) => owner !== user);
      const argv = [...prefix, NODE, `${ROOT}/test/lab/attempts.ts`];
      const { stdout, stderr } = await lab.run(
        NODE_NAME,
        argv,
        JSON.stringify(tried.map(({ attempt }) => attempt)),
      );
      const answers = JSON.parse(stdout || '[]') as (string | null)[];
      t.equal(answers.length, tried.length, stderr);
      const worked = tried.filter((_, i) => answers[i] === null).map(({ what }) => what);
      const allowed = tried.map(({ what }) => what).filter((what) => ALLOWED[what]?.includes(user));
      t.strictSame(worked, allowed, 'what it can do');
      list.push(`${user}: ${worked.join(', ') || 'nothing of it'}`);
    });
  for (const what of Object.keys(ALLOWED))
    t.ok(
      cases.some((it) => it.what === what),
      `"${what}" was tried`,
    );
  t.comment(list.join('\n'));

  await t.test('the daemons are as they were', async (t) => {
    await until('lbd has its helper', async () => {
      const { warnings } = await node.lbdStatus();
      if (warnings.some((line) => /helper/.test(line))) throw new Error(warnings.join('; '));
      return true;
    });
    for (const daemon of Object.values(node.daemons)) daemon.requireRunning();
    t.equal((await node.agentStatus()).role, 'active');
  });
});

function casesOf(
  node: InstalledNode,
  processes: readonly (readonly [name: string, pid: number, owner: User | undefined])[],
): Case[] {
  const file = (act: 'read' | 'write' | 'create', path: string): Attempt => ({
    do: act,
    path: node.path(path),
  });
  const lbdState = stateOf('lbd', node.name);
  const at = (path: string) => `${node.name}/${path}`;
  writeFileSync(node.lab.outside(node.path(`${lbdState}/kept`)), '', { mode: 0o600 });
  return [
    { what: 'read the secret', attempt: file('read', 'etc/secret') },
    { what: 'read the config', attempt: file('read', 'etc/tandem.yaml') },
    { what: 'read the key of the heartbeats', attempt: file('read', 'etc/secret.keys/heartbeat.key') },
    { what: 'read the key of the leases', attempt: file('read', 'etc/secret.keys/witness.key') },
    { what: 'read the key of the session sync', attempt: file('read', 'etc/secret.keys/sync.key') },
    { what: 'read the key of a certificate', attempt: file('read', 'etc/tls/site.key') },
    { what: 'read the state of lbd', attempt: file('read', `${lbdState}/kept`), owner: 'tandem-lb' },
    { what: 'write the config', attempt: file('write', 'etc/tandem.yaml') },
    { what: 'write a key', attempt: file('write', 'etc/secret.keys/sync.key') },
    { what: 'write the key of a certificate', attempt: file('write', 'etc/tls/site.key') },
    { what: 'leave a file beside the config', attempt: file('create', 'etc/x') },
    { what: 'leave a file beside the keys', attempt: file('create', 'etc/secret.keys/x') },
    { what: 'leave a file in the run directory', attempt: file('create', at('x')) },
    ...(
      [
        ['beside the socket of lbd', at('lb'), 'tandem-lb'],
        ['beside the socket of ha-agent', at('ha'), 'tandem-ha'],
        ['beside the liveness socket', at('live'), 'tandem-lb'],
        ['beside the socket of the helper', at('net'), 'tandem-net'],
        ['in the state of lbd', lbdState, 'tandem-lb'],
        ['in the state of ha-agent', stateOf('ha-agent', node.name), 'tandem-ha'],
      ] as const
    ).map(([where, folder, owner]): Case => {
      return { what: `leave a file ${where}`, attempt: file('create', `${folder}/x`), owner };
    }),
    ...(
      [
        ['the control socket of lbd', 'lbd', 'tandem-lb'],
        ['the control socket of ha-agent', 'agent', 'tandem-ha'],
        ['the liveness socket of lbd', 'live', 'tandem-lb'],
        ['the socket that shows the process of lbd', 'stat', 'tandem-lb'],
        ['the helper of the kernel engine', 'kernel', 'tandem-net'],
      ] as const
    ).map(([name, socket, owner]): Case => {
      return { what: `connect to ${name}`, attempt: { do: 'connect', path: node.socket(socket) }, owner };
    }),
    ...processes.flatMap(([name, pid, owner]): Case[] => [
      { what: `signal ${name}`, attempt: { do: 'signal', pid }, owner },
      ...['mem', 'environ', 'maps', 'fd'].map((what): Case => {
        const attempt: Attempt = { do: 'read', path: `/proc/${pid}/${what}` };
        return { what: `look at ${what} of ${name}`, attempt, owner };
      }),
    ]),
    ...(
      [
        ['the heartbeats by multicast', 'udp', MULTICAST_PORT, 'tandem-ha'],
        ['the heartbeats by unicast', 'udp', UNICAST_PORT, 'tandem-ha'],
        ['the session sync', 'tcp', SYNC_PORT, 'tandem-lb'],
        ['a frontend', 'tcp', 5001, 'tandem-lb'],
      ] as const
    ).map(([name, protocol, port, owner]): Case => {
      return { what: `take the port of ${name}`, attempt: { do: 'take', protocol, port }, owner };
    }),
    { what: 'listen on a port below 1024', attempt: { do: 'take', protocol: 'tcp', port: 81 } },
    {
      what: 'change an address',
      attempt: {
        do: 'run',
        argv: ['ip', 'addr', 'replace', '192.0.2.9/32', 'dev', 'lo', 'valid_lft', '1', 'preferred_lft', '1'],
      },
    },
    {
      what: 'change a rule',
      attempt: { do: 'run', argv: ['nft', 'add table inet test_table; delete table inet test_table'] },
    },
    {
      what: 'listen to all frames',
      attempt: { do: 'run', argv: ['socat', '-u', 'OPEN:/dev/null', 'INTERFACE:lo'] },
    },
  ];
}
