import type { ChildProcess } from 'node:child_process';
import { chownSync, globSync, mkdtempSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { SHARED } from '../../lab/holder.ts';
import { ADDRESS, BACKENDS, VIP } from '../../lab/hosts.ts';
import type { Lab } from '../../lab/lab.ts';
import { hasTool } from '../../lab/missing.ts';
import { until } from '../../lab/wait.ts';
import { PORTS } from './services.ts';

/** A well-known program through the VIP, from before the first fault to after the last one. */
export interface Program {
  readonly name: 'redis' | 'postgres';
  /** Starts its servers. */
  serve(lab: Lab): Promise<void>;
  /** Connects through the VIP. */
  begin(lab: Lab): Promise<void>;
  mark(): void;
  /** @returns what is wrong, empty where all went on, and the longest pause where it is known */
  report(lab: Lab): Promise<{ readonly trouble: string; readonly pauseMs: number | undefined }>;
}

const SAID_CHARS = 300;

/** redis-benchmark, with connections that stay. */
export class Redis implements Program {
  readonly name = 'redis';
  #client: ChildProcess | undefined;
  #said = '';

  /** @returns what this machine lacks, or undefined */
  static lacks(): string | undefined {
    const missing = ['redis-server', 'redis-benchmark', 'redis-cli'].find((tool) => !hasTool(tool));
    return missing && `${missing} is missing: install redis-server`;
  }

  async serve(lab: Lab): Promise<void> {
    for (const host of BACKENDS) {
      const options = [
        '--port',
        String(PORTS.redis),
        '--save',
        '',
        '--protected-mode',
        'no',
        '--dir',
        '/run',
      ];
      lab.spawn(host, ['redis-server', ...options], { stdio: 'ignore' });
      await until(`redis on ${host}`, async () => (await this.#commands(lab, host)) >= 0);
    }
  }

  async begin(lab: Lab): Promise<void> {
    const options = ['-h', VIP, '-p', String(PORTS.redis), '-c', '20', '-n', '100000000', '-t', 'set', '-q'];
    // It asks as fast as it is answered; the pair under test needs its share of the processors.
    const argv = ['nice', '-n', '10', 'redis-benchmark', ...options];
    const child = lab.spawn('client', argv, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#said = '';
    child.stderr!.on('data', (data: Buffer) => {
      this.#said = (this.#said + data.toString()).slice(-SAID_CHARS);
    });
    this.#client = child;
  }

  mark(): void {}

  async report(lab: Lab): Promise<{ trouble: string; pauseMs: undefined }> {
    const answered = () => Promise.all(BACKENDS.map((host) => this.#commands(lab, host)));
    const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
    const before = sum(await answered());
    const goesOn = async () => {
      if (this.#ended) return true;
      // What asks for this counts as well.
      return sum(await answered()) > before + 1000;
    };
    const trouble = await until('redis answers', goesOn).then(
      () => (this.#ended ? this.#said || 'redis-benchmark ended' : ''),
      (error: Error) => error.message,
    );
    if (trouble !== '') {
      this.#client?.kill('SIGKILL');
      await this.begin(lab);
    }
    return { trouble, pauseMs: undefined };
  }

  get #ended(): boolean {
    return this.#client === undefined || this.#client.exitCode !== null || this.#client.signalCode !== null;
  }

  async #commands(lab: Lab, host: (typeof BACKENDS)[number]): Promise<number> {
    const argv = ['redis-cli', '-h', ADDRESS[host], '-p', String(PORTS.redis), 'info', 'stats'];
    return Number(/total_commands_processed:(\d+)/.exec(await lab.exec(host, argv))?.[1] ?? Number.NaN);
  }
}

const STATEMENT_EVERY_MS = 20;
const STATEMENT_WITHIN_MS = 15_000;

/** One psql with one session: a temporary table, which only this session has, gets a row with each statement. */
export class Postgres implements Program {
  readonly name = 'postgres';
  #client: ChildProcess | undefined;
  #rows = 0;
  #said = '';
  #lastMs = 0;
  #pauseMs = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @returns what this machine lacks, or undefined */
  static lacks(lab: Lab): string | undefined {
    if (programOf('initdb') === undefined || !hasTool('psql')) return 'it is missing: install postgresql';
    if (lab.state.mode !== 'root') return 'its server needs a user of its own, and so root';
    return userOf('postgres') === undefined ? 'there is no user postgres' : undefined;
  }

  async serve(lab: Lab): Promise<void> {
    const outside = mkdtempSync(lab.outside(join(SHARED, 'postgres-')));
    const directory = join(SHARED, basename(outside));
    const { uid, gid } = userOf('postgres')!;
    chownSync(outside, uid, gid);
    const own = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
    await lab.exec('s1', [...own, programOf('initdb')!, '-A', 'trust', '-N', '-D', directory]);
    await lab.exec('s1', ['tee', '-a', join(directory, 'pg_hba.conf')], 'host all all 0.0.0.0/0 trust\n');
    const settings = [
      '-c',
      `listen_addresses=${ADDRESS.s1}`,
      '-c',
      'unix_socket_directories=',
      '-c',
      'fsync=off',
    ];
    lab.spawn('s1', [...own, programOf('postgres')!, '-D', directory, ...settings], { stdio: 'ignore' });
    const ask = ['psql', '-h', ADDRESS.s1, '-U', 'postgres', '-Xqc', 'select 1'];
    await until('postgres', async () => (await lab.run('s1', ask)).code === 0, 60_000);
  }

  async begin(lab: Lab): Promise<void> {
    const argv = ['psql', '-h', VIP, '-U', 'postgres', '-XqAt', '-v', 'ON_ERROR_STOP=1'];
    const child = lab.spawn('client', argv, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#client = child;
    this.#rows = 0;
    this.#said = '';
    this.mark();
    child.stdin!.on('error', () => {});
    child.stderr!.on('data', (data: Buffer) => {
      this.#said = (this.#said + data.toString()).slice(-SAID_CHARS);
    });
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (Number(line) !== this.#rows) this.#said ||= `${line} rows of ${this.#rows}`;
      const nowMs = performance.now();
      this.#pauseMs = Math.max(this.#pauseMs, nowMs - this.#lastMs);
      this.#lastMs = nowMs;
      this.#timer = setTimeout(() => this.#next(), STATEMENT_EVERY_MS);
    });
    child.stdin!.write('create temp table seen (n int);\n');
    this.#next();
  }

  mark(): void {
    this.#pauseMs = 0;
    this.#lastMs = performance.now();
  }

  async report(lab: Lab): Promise<{ trouble: string; pauseMs: number }> {
    const before = this.#rows;
    const goesOn = () => this.#said !== '' || this.#rows > before + 2;
    const trouble = await until('a statement is answered', goesOn, STATEMENT_WITHIN_MS).then(
      () => this.#said,
      (error: Error) => error.message,
    );
    const pauseMs = this.#pauseMs;
    if (trouble !== '') {
      clearTimeout(this.#timer);
      this.#client?.kill('SIGKILL');
      await this.begin(lab);
    }
    return { trouble: trouble.trim().replaceAll(/\s+/g, ' '), pauseMs };
  }

  #next(): void {
    this.#rows++;
    this.#client?.stdin?.write(`insert into seen values (${this.#rows}); select count(*) from seen;\n`);
  }
}

/** Debian keeps the server's programs out of the PATH. */
function programOf(name: string): string | undefined {
  return globSync(`/usr/lib/postgresql/*/bin/${name}`).at(-1);
}

function userOf(name: string): { uid: number; gid: number } | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((it) => it.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}
