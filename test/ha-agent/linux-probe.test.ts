import t from 'tap';
import { LinuxGroup, type LinuxHost } from '../../ha-agent/linux-group.ts';
import { Strays } from '../../ha-agent/strays.ts';
import { group, vip } from './vips.ts';

t.test('no address of the peer, and no VIP of another group, is asked for as if nobody had it', async (t) => {
  const one = vip('192.0.2.100/29');
  const other = vip('192.0.2.99/29');
  const asked: (readonly string[])[] = [];
  const host: Partial<LinuxHost> = {
    peerAddress: '192.0.2.98',
    allVips: () => [one, other],
    strays: new Strays(),
    prober: {
      ask: async (_vips: unknown, _neighbours: unknown, strays: readonly string[]) => {
        asked.push(strays);
        return [];
      },
    } as unknown as LinuxHost['prober'],
    onTrouble: () => {},
  };
  await new LinuxGroup(group('blue', [one]), host as LinuxHost).probe([]);
  t.same(asked.flat().toSorted(), ['192.0.2.101', '192.0.2.102', '192.0.2.97'], 'the others of the network');
});
