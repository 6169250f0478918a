import { fileURLToPath } from 'node:url';
import { execa, type ResultPromise } from 'execa';
import { messageOf } from '../common/errors.ts';
import type { VipConfig } from '../common/model.ts';

const SCRIPT = fileURLToPath(new URL('guardian.sh', import.meta.url));
/** After it died. */
const RESTART_MS = 200;
/** A guardian that has not read so much is stopped or stuck. A beat with a farewell has 209 bytes. */
const MAX_UNREAD_BYTES = 1024;

/** Where the peer listens for heartbeats that come to its own address. */
export interface FarewellTarget {
  readonly address: string;
  readonly port: number;
}

export interface GuardianEvents {
  /** It missed its beats and removed the VIPs. */
  onFired(): void;
  onTrouble(text: string): void;
}

type Shell = ResultPromise<{
  stdin: 'pipe';
  stdout: 'pipe';
  stderr: 'ignore';
  buffer: false;
  reject: false;
  detached: true;
  cleanup: false;
}>;

/**
 * The second layer that keeps a VIP from being on both nodes: a tiny process that removes the VIPs when this
 * one is killed, hangs or is stopped. See `guardian.sh`.
 */
export class Guardian {
  readonly #events: GuardianEvents;
  #vips: readonly VipConfig[];
  #timeoutMs: number;
  #target: FarewellTarget | undefined;
  #shell: Shell | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  #settings: readonly string[] = [];

  /**
   * @param timeoutMs silence after which the VIPs are removed
   * @param target who gets the farewell, see `beat`; undefined: nobody
   */
  constructor(
    vips: readonly VipConfig[],
    timeoutMs: number,
    target: FarewellTarget | undefined,
    events: GuardianEvents,
  ) {
    this.#vips = vips;
    this.#timeoutMs = timeoutMs;
    this.#target = target;
    this.#events = events;
  }

  get alive(): boolean {
    return this.#shell !== undefined && this.#shell.stdin.writableLength <= MAX_UNREAD_BYTES;
  }

  start(): void {
    if (this.#closed) return;
    const target = this.#target;
    const args = [(this.#timeoutMs / 1000).toFixed(3), target?.address ?? '', String(target?.port ?? '')];
    for (const vip of this.#vips) args.push(`${vip.address}/${vip.prefix}`, vip.interface);
    const shell: Shell = execa('bash', [SCRIPT, ...args], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      buffer: false,
      reject: false,
      detached: true,
      cleanup: false,
    });
    this.#shell = shell;
    shell.stdin.on('error', () => {});
    if (this.#settings.length > 0) this.#writeSettings();
    shell.stdout.on('data', () => {
      if (this.#shell === shell) this.#events.onFired();
    });
    const ended = (why: string) => {
      if (this.#shell !== shell) return;
      this.#shell = undefined;
      this.#events.onTrouble(`the guardian ended (${why}); starting it again`);
      this.#retry = setTimeout(() => this.start(), RESTART_MS);
    };
    shell.then(
      (result) => {
        const missing = (result as { code?: string }).code === 'ENOENT';
        ended(missing ? 'there is no program "bash"' : (result.signal ?? `exit code ${result.exitCode}`));
      },
      (error: unknown) => ended(messageOf(error)),
    );
  }

  /** @param former `interface/setting=value` below `/proc/sys/net/ipv4/conf`, to be restored with the VIPs gone */
  setSettings(former: readonly string[]): void {
    this.#settings = former;
    this.#writeSettings();
  }

  #writeSettings(): void {
    this.#shell?.stdin.write(`settings ${this.#settings.join(' ')}\n`);
  }

  /**
   * The agent is alive. Never waits.
   *
   * @param farewell a heartbeat that steps down, for the peer, once this agent is gone and the VIPs with it
   */
  beat(farewell?: Buffer): void {
    const stdin = this.#shell?.stdin;
    if (stdin === undefined || stdin.writableLength > MAX_UNREAD_BYTES) return;
    stdin.write(farewell === undefined ? '\n' : `${farewell.toString('hex')}\n`);
  }

  /** Puts another guardian in charge, with other VIPs, another time-out or another peer. */
  replace(vips: readonly VipConfig[], timeoutMs: number, target: FarewellTarget | undefined): void {
    this.#vips = vips;
    this.#timeoutMs = timeoutMs;
    this.#target = target;
    const before = this.#shell;
    clearTimeout(this.#retry);
    this.start();
    this.beat();
    before?.stdin.end('bye\n');
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    const shell = this.#shell;
    this.#shell = undefined;
    shell?.stdin.end();
  }
}
