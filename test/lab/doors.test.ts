import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SOCKETS } from '../../common/control.ts';
import { DAEMONS } from '../../scripts/lab/daemon.ts';
import { NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import { type Lab, NODE, ROOT } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { AS_STRANGER, STRANGER } from '../../scripts/lab/stranger.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

const skip = process.getuid?.() !== 0 && 'other users need root';

/** Pids of both daemons of a node. */
function daemonsOf(lab: Lab, node: NodeName): string[] {
  const lines = lab.commands(node).filter((line) => /(?:lbd|ha-agent)\/main\.ts/.test(line));
  return lines.map((line) => line.split(' ', 1)[0]!);
}

t.test('doors of the daemons', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  const { lab } = pair;

  await t.test('what a user of the node that is nobody can do to the daemons', { skip }, async (t) => {
    const node = NODES[0];
    const directory = join(pair.directory, node);
    // What is refused is refused by what it is about, and not by the folder of the test.
    chmodSync(lab.outside(pair.directory), 0o755);
    const secret = join(pair.directory, 'secret');
    const daemons = daemonsOf(lab, node);
    t.equal(daemons.length, DAEMONS.length);
    const stranger = (...argv: string[]) => lab.run(node, [...AS_STRANGER, ...argv]);
    t.equal((await stranger('id', '-u')).stdout.trim(), `${STRANGER}`);
    t.equal((await stranger(NODE, '-e', '')).code, 0, 'it can run the programs that try');

    const ask = (socket: string) =>
      `require('net').connect(${JSON.stringify(join(directory, socket))}).on('connect', () => process.exit(0)).on('error', () => process.exit(1))`;
    const refused: readonly (readonly [what: string, argv: readonly string[]])[] = [
      ['read the secret', ['cat', secret]],
      ['write the config', ['sh', '-c', `>> ${join(pair.directory, 'tandem.yaml')}`]],
      ['list the run directory', ['ls', directory]],
      ['leave a file there', ['touch', join(directory, 'x')]],
      ...[SOCKETS.lbd, SOCKETS.agent, SOCKETS.live, SOCKETS.stat].map(
        (it) => [`connect to ${it}`, [NODE, '-e', ask(it)]] as const,
      ),
      ...daemons.flatMap((pid) => [
        [`signal ${pid}`, ['kill', '-USR1', pid]] as const,
        [`stop ${pid}`, ['kill', '-STOP', pid]] as const,
        [`read the memory of ${pid}`, ['cat', `/proc/${pid}/mem`]] as const,
        [`read the environment of ${pid}`, ['cat', `/proc/${pid}/environ`]] as const,
        [`list the files of ${pid}`, ['ls', `/proc/${pid}/fd`]] as const,
      ]),
      ['change an address', ['ip', 'addr', 'add', '192.0.2.9/32', 'dev', 'lo']],
      ['change a rule', ['nft', 'flush', 'ruleset']],
    ];
    for (const [what, argv] of refused) {
      const { code, stdout } = await stranger(...argv);
      t.not(code, 0, what);
      t.equal(stdout, '', `${what}: nothing is seen`);
    }
    await pair.whole();
  });

  await t.test('SIGUSR1 opens no port in a daemon that runs', async (t) => {
    const listening = async () => (await lab.exec(NODES[0], ['ss', '-Hltn'])).trim().split('\n').toSorted();
    const before = await listening();
    const daemons = daemonsOf(lab, NODES[0]);
    t.equal(daemons.length, DAEMONS.length);
    for (const pid of daemons) for (let n = 0; n < 3; n++) process.kill(Number(pid), 'SIGUSR1');
    await pair.whole();
    t.strictSame(await listening(), before);
  });

  await t.test('a program of a user that comes first in PATH is not run', async (t) => {
    const bin = join(pair.directory, 'bin');
    const outside = lab.outside(bin);
    mkdirSync(outside);
    for (const name of [
      'ip',
      'nft',
      'bash',
      'sh',
      'socat',
      'conntrack',
      'arping',
      'ping',
      'nice',
      'base64',
      'timeout',
    ]) {
      writeFileSync(join(outside, name), `#!/bin/sh\necho "$0" >> ${join(bin, 'ran')}\n`);
      chmodSync(join(outside, name), 0o755);
    }
    const [node] = NODES;
    await pair.daemons[node]['ha-agent'].signal('SIGTERM');
    const flags = ['--config', join(pair.directory, 'tandem.yaml'), '--node', node];
    const main = join(ROOT, 'ha-agent/main.ts');
    const path = `PATH=${bin}:/usr/sbin:/usr/bin:/sbin:/bin`;
    const agent = lab.spawn(
      node,
      ['env', path, NODE, main, ...flags, '--run-dir', join(pair.directory, node)],
      {
        stdio: 'ignore',
      },
    );
    const gone = once(agent, 'exit');
    await until('it has a role', async () => ['active', 'standby'].includes((await pair.status(node)).role));
    agent.kill('SIGTERM');
    await gone;
    t.not((await lab.run(node, ['cat', join(bin, 'ran')])).code, 0, 'nothing of it ran');
  });
});
