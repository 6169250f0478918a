import t from 'tap';
import type { Role } from '../../common/control.ts';
import { initialState, reportOf, step } from '../../ha-agent/election.ts';
import type {
  ElectionAction,
  ElectionConfig,
  ElectionEvent,
  ElectionState,
  LeaseView,
  PeerReport,
  StepTime,
  WitnessResult,
} from '../../ha-agent/election-types.ts';

export const CONFIG: ElectionConfig = {
  self: { name: 'lb1', address: '10.0.0.1', priority: 150 },
  peer: { name: 'lb2', address: '10.0.0.2' },
  intervalMs: 100,
  deadAfter: 3,
  preemptDelayMs: undefined,
  trackLbd: true,
  announceCount: 1,
  announceRefreshMs: 0,
  secondChance: false,
  drainMs: 5000,
};

/** One node, what happens to it, and what it must do. */
export interface Story {
  readonly name: string;
  readonly script: string;
  /** What must be in the transcript, in this order, among other lines. */
  readonly happens: readonly string[];
  readonly never?: readonly RegExp[];
  readonly config?: Partial<typeof CONFIG>;
}

export const BEGIN = `
  0 lbd well
  0 start`;

/** This node is active, the peer is a standby. */
export const ACTIVE = `${BEGIN}
  10 hears standby`;

/** Heartbeats of the peer every 100 ms. */
export const heard = (first: number, last: number, words: string) =>
  Array.from(
    { length: Math.floor((last - first) / 100) + 1 },
    (_, i) => `${first + i * 100} hears ${words}`,
  ).join('\n');

const WELL = { alive: true, ready: true, healthy: true, synced: true, why: '' };
const LBD: Readonly<Record<string, ElectionState['lbd']>> = {
  well: WELL,
  dead: { alive: false, ready: false, healthy: false, synced: false, why: 'it does not run' },
  sick: { ...WELL, healthy: false, why: 'no backend' },
  starting: { ...WELL, ready: false, healthy: false, why: 'starting' },
  unsynced: { ...WELL, synced: false },
  stopping: { ...WELL, ready: false, stopping: true, why: 'stopping' },
  'has 3': { ...WELL, connections: 3 },
  'has 0': { ...WELL, connections: 0 },
};

/** `[held MS] [taken MS] [away] [alone] [e1]`: until when it is held by this node, or taken by the other one. */
function leaseOf(rest: readonly string[], now: number): LeaseView {
  const after = (word: string) => (rest.includes(word) ? Number(rest[rest.indexOf(word) + 1]) : 0);
  return {
    reachesWitness: !rest.includes('away'),
    heardMs: now,
    heldUntilMs: after('held'),
    takenUntilMs: after('taken'),
    epoch: Number(rest.find((word) => /^e\d+$/.test(word))?.slice(1) ?? 1),
    silenceMs: rest.includes('alone') ? 3_600_000 : 0,
  };
}

const TWIN = 'another machine claims the name of this node';

/** Actions that happen all the time. */
const SILENT: ReadonlySet<ElectionAction['type']> = new Set(['renew-vips', 'renew-parked', 'probe-vips']);

/**
 * Plays one node and writes down what it does. Each line is `MS WORDS`; ticks and timers in between happen by
 * themselves, and so do the answers of a host and an `lbd` that do what they are told, unless the script says
 * `manual`. The transcript has the script's lines, marked `>`, and under each what the node did, with its time.
 */
export function play(script: string, config: ElectionConfig = CONFIG): string {
  const story = new Player(config);
  for (const line of script.trim().split('\n')) story.line(line.trim());
  return story.transcript();
}

/** Plays each story as a test of its own. */
export function tell(stories: readonly Story[]): void {
  for (const { name, script, happens, never = [], config } of stories) {
    t.test(name, (t) => {
      const transcript = play(script, { ...CONFIG, ...config });
      const lines = transcript.split('\n');
      let at = 0;
      for (const line of happens) {
        const found = lines.indexOf(line, at);
        if (found < 0) t.fail(`expected "${line}" after line ${at} of\n${transcript}`);
        else at = found + 1;
      }
      for (const pattern of never)
        if (pattern.test(transcript)) t.fail(`${pattern} must not happen in\n${transcript}`);
      t.pass('the story ends');
      t.end();
    });
  }
}

class Player {
  readonly #config: ElectionConfig;
  readonly #lines: string[] = [];
  #state: ElectionState;
  #now = 0;
  #wakeAt = Number.POSITIVE_INFINITY;
  #nextTick = Number.POSITIVE_INFINITY;
  #manual = false;
  #boot = 0;
  #sent = '';
  #answers: readonly string[] = [];

  constructor(config: ElectionConfig) {
    this.#config = config;
    this.#state = initialState(config, 0);
  }

  transcript(): string {
    return this.#lines.join('\n');
  }

  line(text: string): void {
    const [ms = '', word = '', ...rest] = text.split(' ');
    this.#advance(Number(ms));
    this.#lines.push(`> ${text}`);
    if (word === 'manual') this.#manual = true;
    else if (word === 'pause') this.#pause(Number(rest[0]));
    else if (word === 'why') this.#tell(this.#state.why);
    else if (word === 'served') this.#tell(`served ${this.#report().servedMs} ms`);
    else if (word !== 'end') this.#dispatch(this.#event(word, rest));
    if (word === 'start') this.#nextTick = this.#now + this.#config.intervalMs;
  }

  /** Afterwards a waiting datagram comes before the overdue timers, as it may. */
  #pause(ms: number): void {
    this.#now += ms;
    this.#nextTick = this.#now + 1;
    this.#wakeAt = this.#now + 1;
  }

  #advance(until: number): void {
    for (;;) {
      const next = Math.min(this.#wakeAt, this.#nextTick);
      if (next > until) break;
      this.#now = Math.max(this.#now, next);
      if (this.#nextTick <= this.#wakeAt) {
        this.#nextTick = this.#now + this.#config.intervalMs;
        this.#dispatch({ type: 'tick', now: this.#now });
      } else this.#dispatch({ type: 'wake', now: this.#now });
    }
    this.#now = Math.max(this.#now, until);
  }

  #event(word: string, rest: readonly string[]): ElectionEvent {
    const now = this.#now;
    const words = rest.join(' ');
    switch (word) {
      case 'start':
      case 'stop':
      case 'guardian-fired':
        return { type: word, now };
      case 'lbd':
        return { type: 'lbd', now, report: LBD[words]! };
      case 'lease':
        return { type: 'lease', now, view: leaseOf(rest, now) };
      case 'presence':
        return { type: 'presence', now, why: words };
      case 'twin':
        return { type: 'twin', now, role: rest[0] as Role, greater: rest[1] === 'less', why: TWIN };
      case 'answers':
        this.#answers = rest;
        return { type: 'wake', now };
      case 'answered':
        this.#answers = rest;
        return this.#probed();
      case 'suspect':
        return { type: 'suspect', now, sign: rest[0] as 'refused' | 'channel', why: words };
      case 'witness':
        return { type: 'witness', now, result: this.#witnessed(rest) };
      case 'link':
        return { type: 'interface', now, name: rest[0]!, up: rest[1] === 'up', why: `interface ${words}` };
      case 'switchover':
        return { type: 'switchover', now, to: rest[0] as 'self' | 'peer' | undefined };
      case 'hello':
        return { type: 'hello', now, role: rest[0] as 'active', isToAnswer: true };
      case 'vips-added':
        return { type: word, now, ...this.#added(rest) };
      case 'vips-renewed':
        return {
          type: word,
          now,
          error: words === 'ok' ? undefined : words,
          gone: rest[0] === 'gone:',
        };
      case 'vips-removed':
        return this.#gone(words);
      case 'retired':
      case 'promoted':
        return { type: word, now, epoch: this.#state.epoch };
      case 'hears':
        return this.#heartbeat(rest);
      default:
        throw new Error(`no such event in a story: ${word}`);
    }
  }

  /** `yes`, `no` or `unknown`, and since when if that is not now. */
  #witnessed([word, sinceMs]: readonly string[]): WitnessResult {
    const reachable = word === 'unknown' ? undefined : word === 'yes';
    const why = reachable ? 'the gateway answers' : 'the gateway does not answer';
    return { reachable, why, sinceMs: sinceMs === undefined ? this.#now : Number(sinceMs) };
  }

  /**
   * What the neighbours say: a MAC address for the VIP (and `proxy`: for this node as well), `neighbour`, `unknown`,
   * `later`, or nothing.
   */
  #probed(): ElectionEvent {
    const now = this.#now;
    const [by, word] = this.#answers;
    if (by === 'unknown') return { type: 'vips-probed', now, answers: undefined, error: 'no socat' };
    const forwards = by === 'neighbour';
    const answers = by === undefined || forwards ? [] : [{ address: '10.0.0.100', by }];
    const proxies = by !== undefined && word === 'proxy' ? [by] : [];
    return { type: 'vips-probed', now, answers, forwards, proxies };
  }

  /** `ok` and steps such as `ip=300`, or the cause of a failure. */
  #added([word, ...rest]: readonly string[]): { error: string | undefined; steps: readonly StepTime[] } {
    if (word !== 'ok') return { error: [word, ...rest].join(' '), steps: [] };
    const steps = rest.map((part) => part.split('=')).map(([step = '', ms]) => ({ step, ms: Number(ms) }));
    return { error: undefined, steps };
  }

  /** `ok`, `not` (not parked) or the cause of a failure. */
  #gone(words: string): ElectionEvent {
    const error = words === 'ok' || words === 'not' ? undefined : words;
    return { type: 'vips-removed', now: this.#now, error, parked: words === 'ok' };
  }

  /** `ROLE e1 p100 [i100] [d300] [s5000] [old] [sick] [request] [probe] [ask] [finishing] [forwards] [reboot] [echo]`: has heard all */
  #heartbeat(rest: readonly string[]): ElectionEvent {
    const number = (letter: string, otherwise: number) =>
      Number(rest.find((word) => new RegExp(`^${letter}\\d+$`).test(word))?.slice(1) ?? otherwise);
    const restarted = rest.includes('reboot') || this.#boot === 0;
    this.#boot++;
    const report: PeerReport = {
      role: rest[0] as PeerReport['role'],
      epoch: number('e', 0),
      priority: number('p', 100),
      intervalMs: number('i', this.#config.intervalMs),
      deadTimeMs: rest.some((word) => /^d\d+$/.test(word)) ? number('d', 0) : undefined,
      healthy: !rest.includes('sick'),
      request: rest.includes('request'),
      probe: rest.includes('probe'),
      finishing: rest.includes('finishing'),
      forwards: rest.includes('forwards'),
      servedMs: rest.includes('old') ? undefined : number('s', 0),
      ask: rest.includes('ask'),
      lease: this.#lease(rest),
    };
    const echoMs = rest.includes('echo') ? this.#now : undefined;
    return { type: 'heartbeat', now: this.#now, report, restarted, echoMs };
  }

  /** `[consents MS] [free] [away] [without]`: when this node sent the heartbeat that the peer heard last. */
  #lease(rest: readonly string[]): PeerReport['lease'] {
    if (this.#config.leaseMs === undefined || rest.includes('without')) return undefined;
    const sentMs = rest.includes('consents') ? Number(rest[rest.indexOf('consents') + 1]) : 0;
    return {
      held: false,
      reachesWitness: !rest.includes('away'),
      isBound: !rest.includes('free'),
      sentMs: this.#now,
      heardSentMs: sentMs,
    };
  }

  #dispatch(event: ElectionEvent): void {
    const before = this.#state;
    const { state, actions, wakeAtMs } = step(this.#config, before, event);
    if (!(wakeAtMs > event.now)) throw new Error(`wakes at ${wakeAtMs}, now is ${event.now}`);
    this.#state = state;
    this.#wakeAt = wakeAtMs;
    if (state.role !== before.role) this.#tell(`${state.role} (epoch ${state.epoch}): ${state.why}`);
    for (const action of actions) this.#note(action);
    const report = this.#report();
    const flags = (['probe', 'request', 'finishing', 'ask'] as const).filter((flag) => report[flag]);
    const says = [report.role, `p${report.priority}`, ...flags].join(' ');
    if (actions.some(({ type }) => type === 'send') && says !== this.#sent) {
      this.#sent = says;
      this.#tell(`says ${says}`);
    }
    for (const action of actions)
      if (action.type === 'send' && event.type !== 'tick') this.#tell(`sends ${action.copies}`);
    if (!this.#manual) for (const action of actions) this.#obey(action);
  }

  #report(): PeerReport {
    return reportOf(this.#config, this.#state, this.#now);
  }

  #note(action: ElectionAction): void {
    if (action.type === 'log' && action.kind === 'vip' && /after|renewed/.test(action.text))
      this.#tell(`log: ${action.text}`);
    if (action.type === 'log' && action.level === 'error' && action.kind !== 'vip')
      this.#tell(`error: ${action.text}`);
    if (action.type === 'send' || action.type === 'log') return;
    if (action.type === 'tell-lbd') {
      if (action.finishing !== undefined) this.#tell(`lbd: ${action.finishing}`);
    } else if (action.type === 'notify') this.#tell(`notify ${action.role}`);
    else if (action.type === 'answer') this.#tell(`answer ${action.ok ? 'ok' : 'no'}: ${action.text}`);
    else if (action.type === 'want-lease') this.#tell(`want-lease ${action.isWanted}`);
    else if (!SILENT.has(action.type)) this.#tell(action.type);
  }

  #obey(action: ElectionAction): void {
    const now = this.#now;
    if (action.type === 'probe-vips' && this.#answers[0] !== 'later') this.#dispatch(this.#probed());
    else if (action.type === 'add-vips') this.#dispatch({ type: 'vips-added', now, error: undefined });
    else if (action.type === 'renew-vips') this.#dispatch({ type: 'vips-renewed', now, error: undefined });
    else if (action.type === 'remove-vips') this.#dispatch({ type: 'vips-removed', now, error: undefined });
    else if (action.type === 'park-vips')
      this.#dispatch({ type: 'vips-removed', now, error: undefined, parked: true });
    else if (action.type === 'tell-lbd' && action.finishing === 'retiring')
      this.#dispatch({ type: 'retired', now, epoch: action.epoch });
    else if (action.type === 'tell-lbd' && action.role === 'active')
      this.#dispatch({ type: 'promoted', now, epoch: action.epoch });
  }

  #tell(text: string): void {
    this.#lines.push(`${this.#now} ${text}`);
  }
}
