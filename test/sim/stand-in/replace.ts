import { registerHooks } from 'node:module';
import { currentProcess, SimTimer } from '../agent-process.ts';

/**
 * Lets the agent's modules run on a simulated machine: what they import of Node and of the libraries that reach the host is
 * replaced by the files beside this one, and timers and clocks by those of the process that runs. Import this first, and
 * the agent by `await import(…)` afterwards. Everything else, and all that the test itself calls, is the real thing.
 */
const STAND_INS: Readonly<Record<string, string>> = {
  execa: './execa.ts',
  'dgram-as-promised': './dgram-as-promised.ts',
  'node:dgram': './dgram.ts',
  'node:net': './net.ts',
  'node:os': './os.ts',
  'node:fs': './fs.ts',
  'node:crypto': './crypto.ts',
  '../common/events.ts': './events.ts',
};
const AGENT = new URL('../../../ha-agent/', import.meta.url).href;

registerHooks({
  resolve(specifier, context, next) {
    const file = context.parentURL?.startsWith(AGENT) ? STAND_INS[specifier] : undefined;
    if (file === undefined) return next(specifier, context);
    return next(new URL(file, import.meta.url).href, context);
  },
});

type Run = (...args: unknown[]) => void;

const real = {
  setTimeout: globalThis.setTimeout,
  setInterval: globalThis.setInterval,
  setImmediate: globalThis.setImmediate,
  clearTimeout: globalThis.clearTimeout,
  clearInterval: globalThis.clearInterval,
  clearImmediate: globalThis.clearImmediate,
  hrtime: process.hrtime.bigint,
  performanceNow: performance.now.bind(performance),
  dateNow: Date.now,
};

function cancel(timer: unknown, otherwise: (timer: never) => void): void {
  if (timer instanceof SimTimer) timer.cancelled = true;
  else otherwise(timer as never);
}

function bound(run: Run, args: unknown[]): () => void {
  return args.length === 0 ? run : () => run(...args);
}

Object.assign(globalThis, {
  setTimeout: Object.assign(
    (run: Run, ms = 0, ...args: unknown[]) =>
      currentProcess()?.timer(bound(run, args), ms, false) ?? real.setTimeout(run, ms, ...args),
    // Such as `util.promisify.custom`.
    Object.fromEntries(
      Object.getOwnPropertySymbols(real.setTimeout).map((key) => [key, Reflect.get(real.setTimeout, key)]),
    ),
  ),
  setInterval: (run: Run, ms = 0, ...args: unknown[]) =>
    currentProcess()?.timer(bound(run, args), ms, true) ?? real.setInterval(run, ms, ...args),
  setImmediate: (run: Run, ...args: unknown[]) =>
    currentProcess()?.immediate(bound(run, args)) ?? real.setImmediate(run, ...args),
  clearTimeout: (timer: unknown) => cancel(timer, real.clearTimeout),
  clearInterval: (timer: unknown) => cancel(timer, real.clearInterval),
  clearImmediate: (timer: unknown) => cancel(timer, real.clearImmediate),
});
/** What the clock said last: it is asked many times between two happenings. */
let lastUs = Number.NaN;
let lastNs = 0n;
process.hrtime.bigint = () => {
  const machine = currentProcess()?.machine;
  if (machine === undefined) return real.hrtime.call(process.hrtime);
  const us = Math.round(machine.now * 1_000);
  if (us !== lastUs) {
    lastUs = us;
    lastNs = BigInt(us) * 1_000n;
  }
  return lastNs;
};
performance.now = () => currentProcess()?.machine.now ?? real.performanceNow();
Date.now = () => {
  const machine = currentProcess()?.machine;
  return machine === undefined ? real.dateNow() : Math.round(machine.now) + machine.wallMs;
};
