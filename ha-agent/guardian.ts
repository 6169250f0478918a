import { fileURLToPath } from 'node:url';
import { execa, type ResultPromise } from 'execa';
import { messageOf } from '../common/errors.ts';
import type { VipConfig, VipRoute } from '../common/model.ts';
import { tableName } from './forward-rules.ts';
import { routeLine } from './vip-lines.ts';

const SCRIPT = fileURLToPath(new URL('guardian.sh', import.meta.url));
/** After it died. */
const RESTART_MS = 200;
/** A guardian that has not read so much is stopped or stuck. A beat with a farewell has 305 bytes. */
const MAX_UNREAD_BYTES = 1536;

/** Where the peer listens for heartbeats that come to its own address. */
export interface FarewellTarget {
  readonly address: string;
  readonly port: number;
}

/** What the guardian removes, when, and who hears of it. */
export interface GuardianPlan {
  readonly vips: readonly VipConfig[];
  readonly routes: readonly VipRoute[];
  /** Names of the VIP groups: rules that forward for them go. */
  readonly groups: readonly string[];
  /** Silence after which the VIPs are removed. */
  readonly timeoutMs: number;
  /** Who gets the farewell, see `beat`; undefined: nobody. */
  readonly target: FarewellTarget | undefined;
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
  #plan: GuardianPlan;
  #shell: Shell | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  /** Of the latest beat. */
  #farewell: Buffer | undefined;
  /** The one that the shell has. */
  #given: Buffer | undefined;
  #settings: readonly string[] = [];
  #told: readonly string[] = [];
  #adders: readonly number[] = [];
  #formerRoutes: readonly string[] = [];
  /** What the shell goes by, see `wait`. */
  #timeoutMs: number;

  constructor(plan: GuardianPlan, events: GuardianEvents) {
    this.#plan = plan;
    this.#timeoutMs = plan.timeoutMs;
    this.#events = events;
  }

  get alive(): boolean {
    return this.#shell !== undefined && this.#shell.stdin.writableLength <= MAX_UNREAD_BYTES;
  }

  start(): void {
    if (this.#closed) return;
    const shell: Shell = execa('bash', [SCRIPT, ...argumentsOf(this.#plan)], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      buffer: false,
      reject: false,
      detached: true,
      cleanup: false,
    });
    this.#shell = shell;
    this.#given = undefined;
    shell.stdin.on('error', () => {});
    if (this.#settings.length > 0) this.#writeSettings();
    if (this.#told.length > 0) this.#writeTold();
    if (this.#adders.length > 0) this.#writeAdders();
    if (this.#formerRoutes.length > 0) this.#writeFormerRoutes();
    if (this.#timeoutMs !== this.#plan.timeoutMs) this.#writeTimeout();
    shell.stdout.on('data', () => {
      if (this.#shell !== shell) return;
      // It is said once.
      this.#given = undefined;
      this.#events.onFired();
    });
    const ended = (why: string) => {
      if (this.#shell !== shell) return;
      this.#shell = undefined;
      this.#events.onTrouble(`the guardian ended (${why}); starting it again`);
      this.#retry = setTimeout(() => {
        this.start();
        // It guards from its first beat on, and this process may be stopped before the next one.
        this.beat(this.#farewell);
      }, RESTART_MS);
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

  /** @param addresses that commands of provider `exec` have brought here: only those commands are called */
  setTold(addresses: readonly string[]): void {
    this.#told = addresses;
    this.#writeTold();
  }

  /** @param pids of the processes `ip` that add addresses for the agent: they must not do so once they are removed */
  setAdders(pids: readonly number[]): void {
    this.#adders = pids;
    this.#writeAdders();
  }

  /** @param lines for `ip`, after the routes of the VIPs have gone */
  setFormerRoutes(lines: readonly string[]): void {
    this.#formerRoutes = lines;
    this.#writeFormerRoutes();
  }

  /**
   * @param timeoutMs silence after which the VIPs are removed from now on, instead of the one of the plan; where it is not
   *   finite, nothing is to be guarded for now, and the one of before stays
   */
  wait(timeoutMs: number): void {
    if (timeoutMs === this.#timeoutMs || !Number.isFinite(timeoutMs)) return;
    this.#timeoutMs = timeoutMs;
    this.#writeTimeout();
  }

  #writeTimeout(): void {
    this.#shell?.stdin.write(`wait ${secondsOf(this.#timeoutMs)}\n`);
  }

  #writeAdders(): void {
    this.#shell?.stdin.write(`ip ${this.#adders.join(' ')}\n`);
  }

  #writeFormerRoutes(): void {
    this.#shell?.stdin.write(`former ${this.#formerRoutes.join('\x01')}\n`);
  }

  #writeTold(): void {
    this.#shell?.stdin.write(`told ${this.#told.join(' ')}\n`);
  }

  #writeSettings(): void {
    this.#shell?.stdin.write(`settings ${this.#settings.join(' ')}\n`);
  }

  /**
   * The agent is alive. Never waits.
   *
   * @param farewell a heartbeat that steps down, for the peer, once this agent is gone and the VIPs with it; where it
   *   is the buffer of the beat before, it is not written again
   */
  beat(farewell?: Buffer): void {
    this.#farewell = farewell;
    const stdin = this.#shell?.stdin;
    if (stdin === undefined || stdin.writableLength > MAX_UNREAD_BYTES) return;
    // Bash reads byte by byte: what it has already is not told again.
    if (farewell === this.#given) stdin.write('\n');
    else stdin.write(farewell === undefined ? 'none\n' : `${farewell.toString('hex')}\n`);
    this.#given = farewell;
  }

  /**
   * Puts another guardian in charge, with another plan. The silence that counts stays the one of before until `wait`: the
   * peer may not have heard of another one yet, and beats come as before.
   */
  replace(plan: GuardianPlan): void {
    this.#plan = plan;
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

function argumentsOf({ vips, routes, groups, timeoutMs, target }: GuardianPlan): string[] {
  const args = [secondsOf(timeoutMs), target?.address ?? '', String(target?.port ?? '')];
  for (const route of routes) args.push('line', routeLine('del', route));
  for (const vip of vips) args.push('vip', `${vip.address}/${vip.prefix}`, vip.interface);
  for (const group of groups) args.push('table', tableName(group));
  for (const { address, command } of vips)
    if (command.length > 0)
      args.push('exec', address, String(command.length + 2), ...command, 'remove', address);
  return args;
}

function secondsOf(ms: number): string {
  return (ms / 1000).toFixed(3);
}
