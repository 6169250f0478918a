import { EventEmitter, once } from 'node:events';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { WitnessConfig } from '../../common/model.ts';
import type { WitnessResult } from '../../ha-agent/election-types.ts';
import { verdictOf, Witness, witnessWaitMs } from '../../ha-agent/witness.ts';
import { tempDir } from '../common/temp-dir.ts';

const CONFIG: WitnessConfig = {
  addresses: [
    { address: '192.0.2.1', interface: 'eth1', isNeighbour: true },
    { address: '198.51.100.1', interface: 'eth1', isNeighbour: false },
  ],
  // Only what the tests ask for happens.
  intervalMs: 3_600_000,
  timeoutMs: 5_000,
};

/** `arping` and `ping` that answer for an address when a file of that name exists, and write down what was asked. */
class Network {
  readonly #directory: string;

  constructor(t: Test) {
    this.#directory = tempDir(t);
    for (const tool of ['arping', 'ping'])
      this.program(
        tool,
        `echo "${tool} $*" >>"$(dirname "$0")/asked"; for last; do :; done; [ -e "$(dirname "$0")/$last" ]`,
      );
    const before = process.env.PATH;
    process.env.PATH = `${this.#directory}:${before}`;
    t.teardown(() => {
      process.env.PATH = before;
    });
  }

  program(tool: string, script: string): void {
    const file = join(this.#directory, tool);
    writeFileSync(file, `#!/bin/bash\n${script}\n`);
    chmodSync(file, 0o755);
  }

  answer(address: string, yes: boolean): void {
    const file = join(this.#directory, address);
    if (yes) writeFileSync(file, '');
    else rmSync(file, { force: true });
  }
}

function start(t: Test, config = CONFIG) {
  const bus = new EventEmitter();
  const witness = new Witness(config, {
    onResult: (result) => bus.emit('result', result),
    onTrouble: (text) => bus.emit('trouble', text),
  });
  t.teardown(() => witness.close());
  const result = async () => (await once(bus, 'result'))[0] as WitnessResult;
  return { witness, result, bus };
}

t.test('verdicts', (t) => {
  const codes = (...list: number[]) => new Map(list.map((code, i) => [`192.0.2.${i}`, code]));
  t.equal(verdictOf(codes(0)), true);
  t.equal(verdictOf(codes(1, 0)), true, 'any of them');
  t.equal(verdictOf(codes(1, 124)), false);
  t.equal(verdictOf(codes(127, 126)), undefined, 'none could be asked');
  t.equal(verdictOf(codes(127, 1)), false, 'the one that could be asked does not answer');
  t.ok(witnessWaitMs(CONFIG) > 2 * CONFIG.timeoutMs);
  t.end();
});

t.test('one that answers is enough; none twice in a row is silence; then it answers again', async (t) => {
  const network = new Network(t);
  network.answer('198.51.100.1', true);
  const { witness, result } = start(t);
  t.match(witness.status(), { state: 'unknown' });
  let next = result();
  witness.start();
  t.match(await next, { reachable: true, why: '198.51.100.1 answers' });
  network.answer('198.51.100.1', false);
  next = result();
  witness.check();
  t.match(await next, {
    reachable: false,
    why: 'no witness answers (192.0.2.1: no answer, 198.51.100.1: no answer)',
  });
  t.match(witness.status(), { addresses: ['192.0.2.1', '198.51.100.1'], state: 'silent' });
  network.answer('192.0.2.1', true);
  next = result();
  witness.check();
  t.match(await next, { reachable: true });
  t.same(witness.warnings, []);
});

t.test('a check that is asked for during another one follows it', async (t) => {
  const network = new Network(t);
  network.answer('192.0.2.1', true);
  const { witness, result } = start(t);
  const first = result();
  witness.start();
  witness.check();
  const { sinceMs } = await first;
  t.ok((await result()).sinceMs > sinceMs);
});

t.test('without the permission it is ignored, with a warning', async (t) => {
  const network = new Network(t);
  for (const tool of ['arping', 'ping'])
    network.program(tool, 'echo "socket: Operation not permitted" >&2; exit 2');
  const { witness, result } = start(t);
  const next = result();
  witness.start();
  t.match(await next, { reachable: undefined, why: /192\.0\.2\.1: no permission to ask it/ });
  t.match(witness.warnings, [/^the witness is ignored/]);
  t.match(witness.status(), { state: 'ignored' });
});

t.test('a shell that ends is no isolation', async (t) => {
  const network = new Network(t);
  network.program('bash', 'exit 3');
  const { witness, result, bus } = start(t);
  const trouble = once(bus, 'trouble');
  const next = result();
  witness.start();
  t.match(await next, { reachable: undefined, why: 'cannot be asked: the shell ended' });
  t.match((await trouble)[0], /trying again/);
});

t.test('without a witness nothing is asked', (t) => {
  const { witness } = start(t);
  witness.configure(undefined);
  witness.start();
  witness.check();
  t.equal(witness.status(), undefined);
  t.end();
});
