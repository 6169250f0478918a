import { registerHooks } from 'node:module';
import { currentProcess, type SimTimer } from '../agent-process.ts';

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
  if (typeof timer === 'object' && timer !== null && 'cancelled' in timer)
    (timer as SimTimer).cancelled = true;
  else otherwise(timer as never);
}

Object.assign(globalThis, {
  setTimeout: Object.assign(
    (run: Run, ms = 0, ...args: unknown[]) =>
      currentProcess()?.timer(() => run(...args), ms, false) ?? real.setTimeout(run, ms, ...args),
    // Such as `util.promisify.custom`.
    Object.fromEntries(
      Object.getOwnPropertySymbols(real.setTimeout).map((key) => [key, Reflect.get(real.setTimeout, key)]),
    ),
  ),
  setInterval: (run: Run, ms = 0, ...args: unknown[]) =>
    currentProcess()?.timer(() => run(...args), ms, true) ?? real.setInterval(run, ms, ...args),
  setImmediate: (run: Run, ...args: unknown[]) =>
    currentProcess()?.immediate(() => run(...args)) ?? real.setImmediate(run, ...args),
  clearTimeout: (timer: unknown) => cancel(timer, real.clearTimeout),
  clearInterval: (timer: unknown) => cancel(timer, real.clearInterval),
  clearImmediate: (timer: unknown) => cancel(timer, real.clearImmediate),
});
process.hrtime.bigint = () => {
  const machine = currentProcess()?.machine;
  return machine === undefined
    ? real.hrtime.call(process.hrtime)
    : BigInt(Math.round(machine.now * 1_000)) * 1_000n;
};
performance.now = () => currentProcess()?.machine.now ?? real.performanceNow();
Date.now = () => {
  const machine = currentProcess()?.machine;
  return machine === undefined ? real.dateNow() : Math.round(machine.now) + machine.wallMs;
};
