import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import t from 'tap';
import { ADDRESS, type Host } from '../../scripts/lab/hosts.ts';
import { breakIp, delay, duplicate, split, starve } from '../../scripts/lab/impair.ts';
import { Lab, NODE } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { quotaMissing, slow } from '../../scripts/lab/quota.ts';
import { until } from '../../scripts/lab/wait.ts';
import { answers, reaches } from './reach.ts';

const RECEIVER = `
const socket = require('dgram').createSocket('udp4');
socket.on('message', (text) => console.log(String(text)));
socket.bind(7000, () => console.log('ready'));`;
/** Arguments: address, then texts. */
const SENDER = `
const [address, ...texts] = process.argv.slice(1);
const socket = require('dgram').createSocket('udp4');
let left = texts.length;
for (const text of texts) socket.send(text, 7000, address, () => --left || socket.close());`;

/** @returns the first `count` texts that come to lb2 after lb1 has sent some */
async function heard(lab: Lab, texts: readonly string[], count: number): Promise<string[]> {
  const receiver = lab.spawn('lb2', [NODE, '-e', RECEIVER]);
  const found: string[] = [];
  const all = Promise.withResolvers<void>();
  const lines = createInterface({ input: receiver.stdout! });
  await once(lines, 'line');
  lines.on('line', (line) => {
    if (found.push(line) === count) all.resolve();
  });
  await lab.exec('lb1', [NODE, '-e', SENDER, '--', ADDRESS.lb2, ...texts]);
  await all.promise;
  const gone = once(receiver, 'exit');
  receiver.kill('SIGKILL');
  await gone;
  return found;
}

t.test('the lab can do harm, and end it', { skip: skipLab() }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());

  await t.test('a split', async (t) => {
    const end = await split(lab, 'lb1', 'lb2');
    t.notOk(await answers(lab, 'lb1', ADDRESS.lb2));
    t.ok(await reaches(lab, 'client', ADDRESS.lb1));
    t.ok(await reaches(lab, 'client', ADDRESS.lb2));
    await end();
    t.ok(await reaches(lab, 'lb1', ADDRESS.lb2));
  });

  await t.test('datagrams twice', async (t) => {
    const end = await duplicate(lab, 'lb1', 'lb2', 'udp dport 7000');
    t.strictSame((await heard(lab, ['a', 'b'], 4)).toSorted(), ['a', 'a', 'b', 'b']);
    await end();
    t.strictSame(await heard(lab, ['a', 'b'], 2), ['a', 'b']);
  });

  await t.test('datagrams late and out of order', async (t) => {
    const end = await delay(lab, 'lb2', 'udp length > 200', 2000);
    const long = 'x'.repeat(400);
    t.strictSame(await heard(lab, [long, long, 'short'], 3), [long, 'short', long]);
    await end();
    t.strictSame(await heard(lab, [long, long, 'short'], 3), [long, long, 'short']);
  });

  await t.test('a program ip that fails, on one host', async (t) => {
    const works = async (host: Host) => (await lab.run(host, ['ip', 'link', 'show'])).code === 0;
    const end = await breakIp(lab, 'lb1');
    t.notOk(await works('lb1'));
    t.ok(await works('lb2'));
    await end();
    t.ok(await works('lb1'));
  });

  await t.test('a starved host', async (t) => {
    const victim = lab.spawn('lb1', ['sleep', '60']);
    await until('it is there', () => lab.processes('lb1').includes(victim.pid!));
    const mask = async () => (await lab.exec('switch', ['taskset', '-p', String(victim.pid)])).trim();
    const before = await mask();
    const end = await starve(lab, 'lb1');
    t.not(await mask(), before, 'it has one processor only');
    await until('a busy loop has it, too', () => /SECONDS/.test(lab.commands('switch').join()));
    await end();
    t.equal(await mask(), before);
    victim.kill('SIGKILL');
  });

  await t.test('a slow host', { skip: quotaMissing() ?? false }, async (t) => {
    const before = lab.spawn('lb1', ['sleep', '60']);
    await until('it is there', () => lab.processes('lb1').includes(before.pid!));
    const isSlow = (pid: number) => readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes('/tandem-lab-');
    const end = slow(lab, 'lb1', 0.1);
    const after = lab.spawn('lb1', ['sleep', '60']);
    const other = lab.spawn('lb2', ['sleep', '60']);
    await until('it is there', () => lab.processes('lb1').includes(after.pid!));
    await until('it is there', () => lab.processes('lb2').includes(other.pid!));
    t.strictSame(
      [before, after, other].map(({ pid }) => isSlow(pid!)),
      [true, true, false],
    );
    await end();
    t.strictSame(
      [before, after].map(({ pid }) => isSlow(pid!)),
      [false, false],
    );
    for (const child of [before, after, other]) child.kill('SIGKILL');
  });
});
