import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { Clients } from '../../scripts/lab/clients.ts';
import { netnsOf, startHolder } from '../../scripts/lab/holder.ts';
import { ADDRESS, BACKENDS, VIP } from '../../scripts/lab/hosts.ts';
import { Lab, NODE, ROOT } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { startOrigins } from '../../scripts/lab/origins.ts';
import { OwnershipWatch } from '../../scripts/lab/ownership.ts';
import { AS_STRANGER } from '../../scripts/lab/stranger.ts';
import { until } from '../../scripts/lab/wait.ts';
import { tempDir } from '../common/temp-dir.ts';
import { answers, reaches } from './reach.ts';

/** Argument: its address. The first three connections are reset at their first request, the others answered. */
const RESETS_THE_FIRST = `
let left = 3;
require('net').createServer((socket) => {
  socket.on('error', () => {}).on('data', () => {
    if (left-- > 0) socket.resetAndDestroy();
    else socket.write('HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n');
  });
}).listen(80, process.argv[1], () => console.log('ready'));`;

t.test('the lab', { skip: skipLab() }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());

  await t.test('hosts reach each other, and only each other', async (t) => {
    t.ok(await reaches(lab, 'client', ADDRESS.lb1));
    t.ok(await reaches(lab, 'client', 'fd84::12'));
    t.equal((await lab.exec('lb1', ['ip', 'route', 'show', 'default'])).trim(), '');
  });

  await t.test('clients: what breaks a kept connection before its first answer is no finding', async (t) => {
    await lab.exec('lb1', ['ip', 'address', 'add', `${VIP}/24`, 'dev', 'eth0']);
    const server = lab.spawn('lb1', [NODE, '-e', RESETS_THE_FIRST, '--', VIP]);
    await once(createInterface({ input: server.stdout! }), 'line');
    const clients = await Clients.start(lab, { sticky: 0, keptAlive: 3 });
    t.match((await clients.report()).keptAlive, { total: 3, broken: 0 });
    await clients.stop();
    const gone = once(server, 'exit');
    server.kill('SIGKILL');
    await gone;
    await lab.exec('lb1', ['ip', 'address', 'delete', `${VIP}/24`, 'dev', 'eth0']);
  });

  await t.test('a cable can be cut and mended', async (t) => {
    await lab.cut('lb1');
    t.match(await lab.exec('lb1', ['ip', 'link', 'show', 'eth0']), 'NO-CARRIER');
    t.notOk(await answers(lab, 'client', ADDRESS.lb1));
    await lab.heal('lb1');
    t.ok(await reaches(lab, 'client', ADDRESS.lb1));
  });

  await t.test('a partition loses one direction of one path', async (t) => {
    const mend = await lab.partition('client', 'lb1');
    t.notOk(await answers(lab, 'client', ADDRESS.lb1));
    t.ok(await reaches(lab, 'client', ADDRESS.lb2), 'the others are reached');
    await mend();
    t.ok(await reaches(lab, 'client', ADDRESS.lb1));
  });

  await t.test('loss of everything loses everything', async (t) => {
    const mend = await lab.loss('lb2', 1);
    t.notOk(await answers(lab, 'client', ADDRESS.lb2));
    await mend();
    t.ok(await reaches(lab, 'client', ADDRESS.lb2));
  });

  await t.test('the pid is the program itself', async (t) => {
    const child = lab.spawn('s1', ['sleep', '60']);
    const exec = async () => (await lab.exec('s1', ['cat', `/proc/${child.pid}/comm`])).trim() === 'sleep';
    await until('sleep runs', exec);
    t.strictSame(lab.processes('s1'), [child.pid]);
    lab.killAll('s1');
    const [, signal] = await once(child, 'exit');
    t.equal(signal, 'SIGKILL');
  });

  await t.test('who holds the VIP is seen', async (t) => {
    const watch = await OwnershipWatch.start(lab);
    await lab.exec('lb1', ['ip', 'addr', 'add', `${VIP}/24`, 'dev', 'eth0']);
    await watch.until('lb1 holds it', () => watch.holders().join() === 'lb1');
    await lab.exec('lb2', [
      'ip',
      'addr',
      'add',
      `${VIP}/24`,
      'dev',
      'eth0',
      'valid_lft',
      '60',
      'preferred_lft',
      '60',
    ]);
    await watch.until('both hold it', () => watch.holders().length === 2);
    await lab.exec('lb2', [
      'ip',
      'addr',
      'change',
      `${VIP}/24`,
      'dev',
      'eth0',
      'valid_lft',
      '90',
      'preferred_lft',
      '90',
    ]);
    await lab.exec('lb1', ['ip', 'addr', 'del', `${VIP}/24`, 'dev', 'eth0']);
    await watch.until('lb2 holds it', () => watch.holders().join() === 'lb2');
    t.strictSame(
      watch.changes.map(({ node, held }) => [node, held]),
      [
        ['lb1', true],
        ['lb2', true],
        ['lb1', false],
      ],
      'a renewed VIP is no change',
    );
    await watch.close();
  });

  await t.test('the backends tell who they are', async (t) => {
    await startOrigins(lab);
    for (const host of BACKENDS) {
      t.match(await lab.exec('client', ['curl', '-s', `http://${ADDRESS[host]}:9000/`]), host);
      t.match(
        await lab.exec('client', ['curl', '-s', `http://${ADDRESS[host]}:9000/health`]),
        '"database":true',
      );
    }
  });
});

t.test('the lab ends with its program, however that ends', { skip: skipLab() }, async (t) => {
  const program = `
    import { Lab } from ${JSON.stringify(new URL('../../scripts/lab/lab.ts', import.meta.url).href)};
    const lab = await Lab.up();
    lab.spawn('lb1', ['sleep', '60']);
    // A grandchild that would outlive its parent.
    lab.spawn('lb2', ['sh', '-c', 'setsid sleep 60 & wait']);
    console.log(JSON.stringify(lab.state));
    setInterval(() => {}, 1000);
  `;
  const child = spawn(NODE, ['--input-type=module-typescript', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const anchors = Object.values((JSON.parse(line) as Lab['state']).anchors);
  child.kill('SIGKILL');
  await until('every namespace is gone', async () => {
    const left = anchors.filter(({ pid, netns }) => netnsOf(pid) === netns);
    return left.length === 0;
  });
  const spaces = new Set(anchors.map(({ netns }) => netns));
  const left = () =>
    readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && spaces.has(netnsOf(pid) ?? ''));
  await until('the last process ends', () => left().length === 0);
  t.strictSame(left(), [], 'no process is left in them');
});

const skipUsers = skipLab() || (process.getuid?.() !== 0 && 'other users need root');

t.test(
  'other users of a host reach a tree that is below a folder of root alone',
  { skip: skipUsers },
  async (t) => {
    const closed = tempDir(t);
    const tree = join(closed, 'inner/tree');
    mkdirSync(tree, { recursive: true });
    chmodSync(join(closed, 'inner'), 0o700);
    writeFileSync(join(tree, 'file'), 'of the tree');
    mkdirSync(join(closed, '.beside'));
    writeFileSync(join(closed, '.beside/file'), 'of another one');
    const { process: holder, anchors } = await startHolder('root', tree, false);
    t.teardown(async () => {
      const gone = once(holder, 'exit');
      holder.stdin!.end();
      await gone;
    });
    const read = (...argv: string[]) =>
      spawnSync('nsenter', ['-t', `${anchors.lb1.pid}`, '-m', '--', ...argv], { encoding: 'utf8' }).stdout;
    t.equal(read(...AS_STRANGER, 'cat', join(tree, 'file')), 'of the tree');
    t.equal(read('cat', join(closed, '.beside/file')), 'of another one', 'what is beside it stays there');
    for (const folder of [closed, join(closed, 'inner')])
      t.equal(statSync(folder).mode & 0o777, 0o700, 'on the machine it is closed as before');
  },
);

t.test('lab.ts for people', { skip: skipLab() }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tandem-cli-'));
  const lab = (...args: string[]) => {
    const env = { ...process.env, TANDEM_LAB_DIR: directory };
    const { status, stdout, stderr } = spawnSync(NODE, [join(ROOT, 'scripts/lab.ts'), ...args], {
      env,
      encoding: 'utf8',
    });
    return { status, stdout, stderr };
  };
  t.teardown(() => {
    lab('down');
    rmSync(directory, { recursive: true });
  });

  t.match(lab(), { status: 2, stderr: 'usage:' });
  t.match(lab('exec', 'lb1', 'true'), { status: 1, stderr: 'the lab is down' });
  t.match(lab('up'), { status: 0, stdout: 'The lab is up' });
  t.match(lab('up'), { status: 1, stderr: 'up already' });
  t.match(lab('exec', 'lb1', 'ip', '-br', 'addr'), { status: 0, stdout: ADDRESS.lb1 });
  t.match(lab('exec', 'lb1', 'sh', '-c', 'exit 7'), { status: 7 });
  t.match(lab('exec', 'lb9', 'true'), { status: 1, stderr: 'no host "lb9"' });
  t.match(lab('status'), { status: 0, stdout: /s3 +10\.84\.0\.23/ });
  t.match(lab('down'), { status: 0, stdout: 'The lab is down' });
  t.match(lab('status'), { status: 1, stdout: 'The lab is down' });
});
