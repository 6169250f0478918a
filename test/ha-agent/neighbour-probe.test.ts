import t from 'tap';
import type { IpBatch } from '../../ha-agent/ip-batch.ts';
import { NeighbourProbe } from '../../ha-agent/neighbour-probe.ts';
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
