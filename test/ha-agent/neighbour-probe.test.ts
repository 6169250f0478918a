import t from 'tap';
import type { IpBatch } from '../../ha-agent/ip-batch.ts';
import { NeighbourProbe } from '../../ha-agent/neighbour-probe.ts';
import { Strays } from '../../ha-agent/strays.ts';
import { randomFrom } from '../sim/simulation.ts';
import { vip } from './vips.ts';

/** Where every address is answered for. `ip` fails as a whole for an interface that is missing or lacks the family. */
function probe(lacking: readonly string[]): NeighbourProbe {
  const ip = {
    run: async (lines: readonly string[]) => ({
      objects: lines.flatMap((line) => {
        const [, dst] = /^neigh show to (\S+)/.exec(line) ?? [];
        return dst === undefined ? [] : [{ dst, lladdr: '02:00:00:00:00:09', state: ['REACHABLE'] }];
      }),
      errors: lines.some((line) => lacking.some((it) => line.includes(it))) ? ['Cannot find device'] : [],
      complete: true,
    }),
  };
  return new NeighbourProbe(
    ip as unknown as IpBatch,
    (device, family) => !lacking.includes(device) && family === 4,
  );
}

t.test('a VIP that cannot be asked for does not hide who answers for the others', async (t) => {
  const vips = [vip('192.0.2.100/24'), vip('198.51.100.1/24', 'eth9'), vip('fd00::100/64')];
  const answers = await probe(['eth9', 'fd00::100']).ask(vips, ['192.0.2.3']);
  t.strictSame(
    answers.map(({ address }) => address),
    ['192.0.2.100', '192.0.2.3'],
  );
  await t.rejects(probe(['eth9']).ask([vip('198.51.100.1/24', 'eth9')], []), { code: 'CANNOT_PROBE' });
});

const ROUTER = '02:00:00:00:00:09';

/**
 * The kernel's neighbours beside a router that answers for everybody, each question up to `proxy_delay` late, on a clock of
 * their own.
 */
function slowRouter(random: () => number) {
  const entries = new Map<string, string | undefined>();
  let answers: { readonly address: string; readonly atMs: number }[] = [];
  let now = 0;
  const advanceTo = (ms: number) => {
    now = ms;
    // An answer makes no entry where nothing was asked.
    for (const { address, atMs } of answers)
      if (atMs <= now && entries.has(address)) entries.set(address, ROUTER);
    answers = answers.filter(({ atMs }) => atMs > now);
  };
  const carryOut = (line: string) => {
    const [, word, address = ''] = /^neigh (\w+) (?:to )?(\S+)/.exec(line) ?? [];
    if (word === 'flush') entries.delete(address);
    if (word === 'replace') {
      entries.set(address, undefined);
      answers.push({ address, atMs: now + random() * 800 });
    }
    const lladdr = entries.get(address);
    return word === 'show' && lladdr !== undefined ? [{ dst: address, lladdr, state: ['REACHABLE'] }] : [];
  };
  const run = async (lines: readonly string[]) => {
    if (!lines.some((line) => line.startsWith('neigh flush'))) advanceTo(now + 7);
    return { objects: lines.flatMap(carryOut), errors: [], complete: true };
  };
  return { ip: { run } as unknown as IpBatch, advanceTo };
}

t.test('a router that answers late is known before it is asked whether the other node lives', async (t) => {
  const alone = async (seed: number) => {
    const { ip, advanceTo } = slowRouter(randomFrom(seed));
    const prober = new NeighbourProbe(ip, () => true);
    const strays = new Strays();
    const vips = [vip('192.0.2.100/24')];
    let known: readonly string[] = [];
    const wrong: number[] = [];
    // One question before the takeover, and those after it that it would yield to.
    for (const ms of [0, 3_800, 4_820, 5_840, 6_860, 7_880]) {
      advanceTo(ms);
      const picked = strays.pick(vips, []);
      const answers = await prober.ask(vips, ['192.0.2.3'], picked.flat());
      known = [...known, ...strays.judge(picked, answers, ms)];
      const isRival = answers.some(({ address, by }) => address === '192.0.2.100' && !known.includes(by));
      if (ms > 0 && (isRival || known.length === 0)) wrong.push(ms);
    }
    return wrong;
  };
  const runs = await Promise.all(Array.from({ length: 200 }, (_, seed) => alone(seed)));
  t.strictSame(runs.flat(), []);
});

t.test('what came between two questions counts for strays alone: a VIP may have moved since', async (t) => {
  const { ip, advanceTo } = slowRouter(() => 0.5);
  const prober = new NeighbourProbe(ip, () => true);
  const ask = () => prober.ask([vip('192.0.2.100/24')], ['192.0.2.3'], ['192.0.2.77']);
  t.strictSame(await ask(), []);
  advanceTo(1_000);
  t.strictSame(await ask(), [{ address: '192.0.2.77', by: ROUTER }]);
});
