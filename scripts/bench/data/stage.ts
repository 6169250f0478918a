import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OperatorError } from '../../../common/errors.ts';
import { TOOL_PATH } from '../../lab/missing.ts';
import type { Contender } from './contender.ts';
import { nginxOriginFiles, type OriginName, originArgv } from './origin.ts';
import { type Place, placeOf, type Setup } from './setup.ts';

/** Core of the proxies, core of load and origin, and both. */
export const PROXY_CORE = '1';
export const LOAD_CORE = '0';
export const BOTH_CORES = '0,1';

/** After it a load generator is ended: it should have been over long before. */
const OVERTIME_MS = 60_000;
const STOP_WITHIN_MS = 3000;

/** A proxy that runs. */
export interface Running {
  readonly contender: Contender;
  readonly place: Place;
  readonly pid: number;
  /** @throws Error when it has ended */
  alive(): void;
}

const execute = promisify(execFile);
const env = { ...process.env, PATH: TOOL_PATH };

/** What a benchmark has started, and its directory, so that all of it is gone at the end. */
export class Stage {
  readonly #directory = mkdtempSync(join(tmpdir(), 'tandem-bench-'));
  readonly #children: ChildProcess[] = [];
  #loads = new AbortController();
  #over = false;
  readonly #pem: string;
  #starts = 0;

  constructor() {
    // nginx, started by root, reads what it serves as another user.
    process.umask(0o022);
    chmodSync(this.#directory, 0o711);
    this.#pem = makeCertificate(this.#directory);
  }

  /** The certificate that clients trust. */
  get ca(): string {
    return join(this.#directory, 'cert.pem');
  }

  origin(name: OriginName, core = LOAD_CORE): void {
    const own = this.#makeDirectory(`origin-${name}`);
    if (name === 'nginx')
      for (const [file, text] of Object.entries(nginxOriginFiles(own))) writeFileSync(join(own, file), text);
    this.#spawn(core, originArgv(name, own));
  }

  /** @param index of the proxy among those that run at the same time */
  proxy(contender: Contender, setup: Setup, index: number, core = PROXY_CORE): Running {
    const place = placeOf(this.#makeDirectory(`proxy-${index}`), index);
    writeFileSync(place.certificate, this.#pem, { mode: 0o600 });
    const file = join(place.directory, 'config');
    writeFileSync(file, contender.config(setup, place));
    const child = this.#spawn(core, contender.argv(setup, place, file));
    return {
      contender,
      place,
      pid: child.pid!,
      // Else what answers is somebody else's, such as another run of this benchmark.
      alive: () => {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`${contender.name} ended: is its port taken?`);
      },
    };
  }

  /**
   * @returns what the program prints
   * @throws Error when it fails, or is not over in time; OperatorError `INTERRUPTED` after the end
   */
  async load(argv: readonly string[], seconds: number, core = LOAD_CORE): Promise<string> {
    const options = {
      ...{ env, signal: this.#loads.signal, killSignal: 'SIGKILL' as const },
      timeout: seconds * 1000 + OVERTIME_MS,
    };
    this.#mustBeOpen();
    try {
      return (await execute('taskset', ['-c', core, ...argv], options)).stdout;
    } catch (error) {
      this.#mustBeOpen();
      throw error;
    }
  }

  /** Ends all that runs, so that the next load begins with fresh processes. */
  async clear(): Promise<void> {
    this.#loads.abort();
    this.#loads = new AbortController();
    await Promise.all(this.#children.splice(0).map(stop));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await this.clear();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #spawn(core: string, argv: readonly string[]): ChildProcess {
    this.#mustBeOpen();
    const child = spawn('taskset', ['-c', core, ...argv], { stdio: ['ignore', 'ignore', 'inherit'], env });
    this.#children.push(child);
    return child;
  }

  /** What was interrupted must not start anything more. */
  #mustBeOpen(): void {
    if (this.#over) throw new OperatorError('INTERRUPTED', 'the benchmark is over');
  }

  #makeDirectory(name: string): string {
    this.#starts++;
    const own = join(this.#directory, `${this.#starts}-${name}`);
    mkdirSync(own);
    return own;
  }
}

/** Certificate and key in one text, as HAProxy wants them. ECDSA P-256. */
function makeCertificate(directory: string): string {
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const names = ['-subj', '/CN=bench', '-addext', 'subjectAltName=DNS:bench,IP:127.0.0.1', '-days', '30'];
  execFileSync('openssl', ['req', '-x509', ...curve, ...names, '-keyout', key, '-out', cert], {
    env,
    stdio: 'ignore',
  });
  return readFileSync(cert, 'utf8') + readFileSync(key, 'utf8');
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  // nginx and haproxy end at once on SIGTERM; a second one tells lbd not to wait for its connections.
  child.kill('SIGTERM');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
  await gone;
  clearTimeout(timer);
}
