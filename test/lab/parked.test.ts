import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { INTERFACE, NODES, VIP } from '../../scripts/lab/hosts.ts';
import { NODE } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { TCP_PORT } from '../../scripts/lab/pair-config.ts';
import { signal } from '../../scripts/lab/tested-pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

const SETTINGS = ['arp_ignore', 'arp_announce'].map((name) => `/proc/sys/net/ipv4/conf/${INTERFACE}/${name}`);
/** A connection that does nothing and does not end. */
const IDLE = `require('net').connect(${TCP_PORT}, '${VIP}').on('connect', () => console.log('open')).on('error', () => {})`;

t.test('agent and guardian killed while connections finish', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  const { lab } = pair;
  const from = pair.active();
  const to = NODES.find((node) => node !== from)!;
  const settings = async () => (await lab.exec(from, ['cat', ...SETTINGS])).split('\n').slice(0, 2);
  const before = await settings();
  const client = lab.spawn('client', [NODE, '-e', IDLE], { stdio: ['ignore', 'pipe', 'ignore'] });
  await new Promise((resolve) => client.stdout!.once('data', resolve));
  await pair.switchover(from);
  await until('the VIP is parked', async () => (await settings()).join() === '1,2');
  await until('it says what finishes there', async () => {
    const { code, stdout, stderr } = await pair.lbctl(from, 'upgrade-ready');
    const isSaid = /1 connection of the time when it was active finishes here/.test(stdout);
    if (code !== 1 || !isSaid) throw new Error(`exit ${code}: ${stdout}${stderr}`);
    return true;
  });
  t.match(await pair.lbctl(to, 'upgrade-ready'), { code: 1, stdout: /it is active/ });

  for (const part of ['guardian', 'agent'] as const) signal(pair, from, part, 'SIGSTOP');
  for (const part of ['guardian', 'agent'] as const) signal(pair, from, part, 'SIGKILL');
  t.strictSame(await settings(), ['1', '2'], 'nobody is left to mend it');
  await until('the agent is gone', () => pair.pids(from, 'agent').length === 0);
  await pair.startNode(from);
  await pair.whole();
  t.strictSame(await settings(), before, 'the next agent does');
  const left = lab.outside(join(pair.directory, from, 'ha/former-settings'));
  t.notMatch(existsSync(left) ? readFileSync(left, 'utf8') : '', /arp_/, 'and nothing is left to mend');
  t.equal(pair.active(), to);
  client.kill('SIGKILL');
  t.match(await pair.lbctl(from, 'upgrade-ready', '--wait', '60s'), {
    code: 0,
    stdout: /may be restarted now/,
  });
});
