import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { copyFileSync, existsSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { Guardian, type GuardianPlan } from '../../ha-agent/guardian.ts';
import { firstInPath, program } from '../common/programs.ts';
import { tempDir } from '../common/temp-dir.ts';
import { vip } from './vips.ts';

const VIPS = [vip('192.0.2.100/24'), vip('fd00::100/64', 'eth2')];
const plan = (timeoutMs: number): GuardianPlan => ({
  vips: VIPS,
  routes: [],
  groups: ['default'],
  timeoutMs,
  target: undefined,
});
const REMOVED = `addr del 192.0.2.100/24 dev eth1
addr del fd00::100/64 dev eth2
addr del 192.0.2.100/32 dev lo
addr del fd00::100/128 dev lo
`;
/** Longer than any test: a guardian that must not fire by time. */
const NEVER_MS = 60_000;

/** An `ip` that writes down what it was told. */
function fakeIp(t: Test): { directory: string; done: () => Promise<string> } {
  const directory = firstInPath(t);
  const out = join(directory, 'done');
  program(
    directory,
    'ip',
    `#!/bin/sh\n[ "$2" = addr ] && exec echo "1: lo    inet 127.0.0.1/8 scope host lo"\ncat > ${out}.part\nmv ${out}.part ${out}\n`,
  );
  const done = async () => {
    await there(out);
    return readFileSync(out, 'utf8').replace(/\n+$/, '\n');
  };
  return { directory, done };
}

/** Waits until a file is there. */
async function there(file: string): Promise<void> {
  if (existsSync(file)) return;
  const watcher = watch(dirname(file));
  while (!existsSync(file)) await once(watcher, 'change');
  watcher.close();
}

t.test('missed beats: removes the VIPs, says so, and goes on with the next beat', async (t) => {
  const { done } = fakeIp(t);
  const bus = new EventEmitter();
  const guardian = new Guardian(plan(50), {
    onFired: () => bus.emit('fired'),
    onTrouble: (text) => t.fail(text),
  });
  t.teardown(() => guardian.close());
  const fired = once(bus, 'fired');
  guardian.start();
  guardian.beat();
  await fired;
  t.equal(await done(), REMOVED);
  t.ok(guardian.alive);
  const again = once(bus, 'fired');
  guardian.beat();
  await again;
});

t.test(
  'the silence that counts may change, also for a guardian that takes the place of a dead one',
  async (t) => {
    const { done } = fakeIp(t);
    const bus = new EventEmitter();
    const guardian = new Guardian(plan(NEVER_MS), {
      onFired: () => bus.emit('fired'),
      onTrouble: (text) => t.fail(text),
    });
    t.teardown(() => guardian.close());
    const fired = once(bus, 'fired');
    guardian.start();
    guardian.wait(50);
    guardian.beat();
    await fired;
    t.equal(await done(), REMOVED);

    const other = new Guardian(plan(NEVER_MS), {
      onFired: () => bus.emit('fired'),
      onTrouble: (text) => t.fail(text),
    });
    t.teardown(() => other.close());
    const again = once(bus, 'fired');
    other.wait(50);
    other.start();
    other.beat();
    await again;
  },
);

t.test('the agent’s ip, late like all else, adds nothing once the VIPs are removed', async (t) => {
  const { done } = fakeIp(t);
  const directory = tempDir(t);
  copyFileSync('/bin/sleep', join(directory, 'ip'));
  const started = (program: string) => {
    const child = spawn(program, ['60']);
    t.teardown(() => child.kill('SIGKILL'));
    child.kill('SIGSTOP');
    return child;
  };
  const [former, ip, other] = [...['ip', 'ip'].map((it) => started(join(directory, it))), started('sleep')];
  const state = ({ pid }: ChildProcess) => {
    const file = `/proc/${pid}/stat`;
    return existsSync(file) ? readFileSync(file, 'latin1').split(') ')[1]![0] : 'gone';
  };
  const guardian = new Guardian(plan(NEVER_MS), { onFired: () => {}, onTrouble: (text) => t.fail(text) });
  guardian.setAdders([former!.pid!]);
  guardian.start();
  guardian.setAdders([ip!.pid!]);
  guardian.close();
  t.equal(await done(), REMOVED);
  t.not(state(ip!), 'T');
  t.equal(state(former!), 'T', 'only the latest');

  // Its number may be that of another program by now.
  const careful = new Guardian(plan(NEVER_MS), { onFired: () => {}, onTrouble: (text) => t.fail(text) });
  careful.setAdders([other!.pid!]);
  rmSync(join(process.env.PATH!.split(delimiter)[0]!, 'done'));
  careful.start();
  careful.close();
  t.equal(await done(), REMOVED);
  t.equal(state(other!), 'T');
});

t.test('without a beat there is nothing to guard yet; the end of the agent removes the VIPs', async (t) => {
  const { done } = fakeIp(t);
  const guardian = new Guardian(plan(20), {
    onFired: () => t.fail('fired'),
    onTrouble: (text) => t.fail(text),
  });
  guardian.start();
  guardian.close();
  t.equal(await done(), REMOVED);
});

t.test('kill -9 of the agent: a guardian in its own session removes the VIPs', async (t) => {
  const { done } = fakeIp(t);
  const source = `
    import { Guardian } from ${JSON.stringify(new URL('../../ha-agent/guardian.ts', import.meta.url).href)};
    const guardian = new Guardian(${JSON.stringify(plan(NEVER_MS))}, { onFired() {}, onTrouble() {} });
    guardian.start();
    guardian.beat();
    setTimeout(() => console.log('guarded'), 0);
    setInterval(() => {}, 1000);
  `;
  const agent = spawn(process.execPath, ['--input-type=module', '-e', source], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => agent.kill('SIGKILL'));
  await once(agent.stdout, 'data');
  t.notOk(existsSync(join(process.env.PATH!.split(delimiter)[0]!, 'done')));
  process.kill(-agent.pid!, 'SIGKILL');
  t.equal(await done(), REMOVED);
});

t.test('a guardian that is replaced leaves the VIPs alone', async (t) => {
  const { directory, done } = fakeIp(t);
  const guardian = new Guardian(plan(NEVER_MS), {
    onFired: () => t.fail('fired'),
    onTrouble: (text) => t.fail(text),
  });
  guardian.start();
  guardian.beat();
  guardian.replace({ ...plan(NEVER_MS), vips: VIPS.slice(0, 1) });
  t.ok(guardian.alive);
  t.notOk(existsSync(join(directory, 'done')));
  guardian.close();
  const removed = 'addr del 192.0.2.100/24 dev eth1\naddr del 192.0.2.100/32 dev lo\n';
  t.equal(await done(), removed, 'only the new one had something to remove');
});

t.test(
  'one that is put in charge by a reload waits no longer than the one before until it is told',
  async (t) => {
    fakeIp(t);
    const bus = new EventEmitter();
    const guardian = new Guardian(plan(50), {
      onFired: () => bus.emit('fired'),
      onTrouble: (text) => t.fail(text),
    });
    t.teardown(() => guardian.close());
    guardian.start();
    const fired = once(bus, 'fired');
    guardian.replace(plan(NEVER_MS));
    await fired;
  },
);

t.test('a guardian that has nothing to guard for now goes on', async (t) => {
  fakeIp(t);
  const bus = new EventEmitter();
  const guardian = new Guardian(plan(50), {
    onFired: () => bus.emit('fired'),
    onTrouble: (text) => bus.emit('error', new Error(text)),
  });
  t.teardown(() => guardian.close());
  const fired = once(bus, 'fired');
  guardian.start();
  guardian.wait(Number.POSITIVE_INFINITY);
  guardian.beat();
  await fired;
});

t.test('a guardian that dies is replaced', async (t) => {
  program(firstInPath(t), 'bash', '#!/bin/sh\nexit 3\n');
  const bus = new EventEmitter();
  const guardian = new Guardian(plan(NEVER_MS), {
    onFired() {},
    onTrouble: (text) => bus.emit('trouble', text),
  });
  t.teardown(() => guardian.close());
  let trouble = once(bus, 'trouble');
  guardian.start();
  t.match((await trouble)[0], 'the guardian ended (exit code 3); starting it again');
  t.notOk(guardian.alive);
  trouble = once(bus, 'trouble');
  await trouble;
});

/** An `ip` that shows these addresses, whatever it is told to remove. */
function showingIp(t: Test, addresses: string): void {
  const script = `#!/bin/sh\ncase $* in *show*) echo '${addresses}' ;; *) cat >/dev/null ;; esac\n`;
  program(firstInPath(t), 'ip', script);
}

async function listener(t: Test): Promise<{ socket: Socket; port: number }> {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { socket, port: socket.address().port };
}

const LO = '1: lo inet 127.0.0.1/8 scope host lo';
/** Every byte there is, the ones that a shell finds hard first. */
const FAREWELL = Buffer.from([0, 10, 37, 92, 255, ...Array.from({ length: 99 }, (_, i) => i)]);

t.test('once the VIPs are gone, the peer gets the latest farewell', async (t) => {
  showingIp(t, LO);
  const { socket, port } = await listener(t);
  const guardian = new Guardian(
    { ...plan(NEVER_MS), target: { address: '127.0.0.1', port } },
    {
      onFired: () => t.fail('fired'),
      onTrouble: (text) => t.fail(text),
    },
  );
  guardian.start();
  guardian.beat(Buffer.from('old'));
  guardian.beat(FAREWELL);
  const heard = once(socket, 'message');
  guardian.close();
  const [message] = (await heard) as [Buffer];
  t.same(message, FAREWELL);
});

t.test('a farewell that stays the same is written once, and again after it was said', async (t) => {
  showingIp(t, LO);
  const { socket, port } = await listener(t);
  const bus = new EventEmitter();
  const guardian = new Guardian(
    { ...plan(50), target: { address: '127.0.0.1', port } },
    { onFired: () => bus.emit('fired'), onTrouble: (text) => t.fail(text) },
  );
  t.teardown(() => guardian.close());
  guardian.start();
  for (const round of [1, 2]) {
    const [fired, heard] = [once(bus, 'fired'), once(socket, 'message')];
    // None of the three may be late, or it fires in between.
    for (let i = 0; i < 3; i++) guardian.beat(FAREWELL);
    await fired;
    t.same((await heard)[0], FAREWELL, `round ${round}`);
  }
});

const LAST_WORD = 'nothing came before';

/** What was heard first, once all that was sent up to now has been: datagrams of one machine come in order. */
async function lastWord(first: Promise<unknown[]>, socket: Socket): Promise<string> {
  socket.send(LAST_WORD, socket.address().port, '127.0.0.1');
  return String((await first)[0]);
}

t.test('a farewell that was taken back is not said', async (t) => {
  showingIp(t, LO);
  const { socket, port } = await listener(t);
  const first = once(socket, 'message');
  const bus = new EventEmitter();
  const guardian = new Guardian(
    // Longer than this process may be held up between two of the lines below.
    { ...plan(500), target: { address: '127.0.0.1', port } },
    { onFired: () => bus.emit('fired'), onTrouble: (text) => t.fail(text) },
  );
  t.teardown(() => guardian.close());
  const fired = once(bus, 'fired');
  guardian.start();
  guardian.beat(FAREWELL);
  guardian.beat();
  guardian.beat();
  await fired;
  t.equal(await lastWord(first, socket), LAST_WORD, 'and no farewell before it');
});

t.test('while a VIP is still there, the peer hears nothing', async (t) => {
  showingIp(t, `${LO}\n2: eth1    inet 192.0.2.100/24 scope global eth1`);
  const { socket, port } = await listener(t);
  const first = once(socket, 'message');
  const guardian = new Guardian(
    { ...plan(50), target: { address: '127.0.0.1', port } },
    {
      onFired: () => bus.emit('fired'),
      onTrouble: (text) => t.fail(text),
    },
  );
  const bus = new EventEmitter();
  t.teardown(() => guardian.close());
  const fired = once(bus, 'fired');
  guardian.start();
  guardian.beat(FAREWELL);
  await fired;
  t.equal(await lastWord(first, socket), LAST_WORD, 'and no farewell before it');
});

t.test('what cannot be removed at once is tried again; then the peer is told', async (t) => {
  const directory = firstInPath(t);
  const tries = join(directory, 'tries');
  const shown = `${LO}\n2: eth1    inet 192.0.2.100/24 scope global eth1`;
  program(
    directory,
    'ip',
    `#!/bin/bash\ncase $* in *show*) [ "$(wc -l <${tries})" -ge 3 ] && echo '${LO}' || echo '${shown}' ;; *) echo >>${tries} ;; esac\n`,
  );
  const { socket, port } = await listener(t);
  const guardian = new Guardian(
    { ...plan(NEVER_MS), target: { address: '127.0.0.1', port } },
    { onFired: () => t.fail('fired'), onTrouble: (text) => t.fail(text) },
  );
  guardian.start();
  guardian.beat(FAREWELL);
  const heard = once(socket, 'message');
  guardian.close();
  t.same((await heard)[0], FAREWELL);
});

t.test('one that replaces a dead guardian guards at once, not only from the next beat on', async (t) => {
  const { directory, done } = fakeIp(t);
  const died = join(directory, 'died');
  program(directory, 'bash', `#!/bin/sh\n[ -e ${died} ] && exec /bin/bash "$@"\ntouch ${died}\nexit 3\n`);
  const bus = new EventEmitter();
  const guardian = new Guardian(plan(50), {
    onFired: () => bus.emit('fired'),
    onTrouble: () => {},
  });
  t.teardown(() => guardian.close());
  const fired = once(bus, 'fired');
  guardian.start();
  guardian.beat();
  await fired;
  t.equal(await done(), REMOVED);
});

/**
 * What bash asks for the time, an hour ahead as soon as a file is there; and what it reads with, which makes a file when
 * it has got a \`b\` that no newline follows: the middle of a line.
 */
const SHIFTED = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
ssize_t read(int file, void *buffer, size_t size) {
  static ssize_t (*original)(int, void *, size_t);
  if (!original) *(void **)&original = dlsym(RTLD_NEXT, "read");
  ssize_t got = original(file, buffer, size);
  if (file == 0 && got > 0 && ((char *)buffer)[got - 1] == 'b') close(open(HALFWAY, O_CREAT | O_WRONLY, 0600));
  return got;
}
int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  tv->tv_sec = now.tv_sec + (access(STEPPED, F_OK) == 0 ? 3600 : 0);
  tv->tv_usec = now.tv_nsec / 1000;
  return 0;
}`;

const noCompiler =
  spawnSync('cc', ['--version']).error !== undefined &&
  'there is no C compiler, so the clock cannot be stepped';

t.test('a step of the wall clock is no silence', { skip: noCompiler }, async (t) => {
  const directory = tempDir(t);
  const library = join(directory, 'shifted.so');
  const stepped = join(directory, 'stepped');
  const halfway = join(directory, 'halfway');
  const files = [`-DSTEPPED="${stepped}"`, `-DHALFWAY="${halfway}"`];
  const args = ['-shared', '-fPIC', ...files, '-o', library, '-x', 'c', '-', '-ldl'];
  const compiled = spawnSync('cc', args, { input: SHIFTED });
  t.equal(compiled.status, 0, compiled.stderr.toString());
  showingIp(t, LO);
  const script = new URL('../../ha-agent/guardian.sh', import.meta.url).pathname;
  const guardian = spawn('bash', [script, '30', '', '', 'vip', '192.0.2.100/24', 'eth1'], {
    env: { ...process.env, LD_PRELOAD: library },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let said = '';
  guardian.stdout.on('data', (data) => {
    said += data;
  });
  const ended = once(guardian, 'exit');
  guardian.stdin.write('aa\n');
  guardian.stdin.write('bb');
  await there(halfway);
  writeFileSync(stepped, '');
  guardian.stdin.write('cc\nbye\n');
  t.same((await ended)[0], 0);
  t.equal(said, '');
});
