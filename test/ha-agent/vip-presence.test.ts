import t from 'tap';
import { Complaints } from '../../ha-agent/complaints.ts';
import type { IpBatch } from '../../ha-agent/ip-batch.ts';
import type { IpRelay } from '../../ha-agent/ip-relay.ts';
import { VipPresence } from '../../ha-agent/vip-presence.ts';
import { vip } from './vips.ts';

const VIP = vip('192.0.2.100/24');

t.test('a copy that is to be removed when the VIPs begin to come is left to them', async (t) => {
  const objects = [{ ifname: 'eth1', addr_info: [{ local: VIP.address, prefixlen: 24 }] }];
  const answer = { objects, errors: [], complete: true };
  const carriedOut: string[] = [];
  let turn = () => {};
  const itsTurn = new Promise<void>((resolve) => {
    turn = resolve;
  });
  let asked = () => {};
  const removalAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const relay = {
    change: async (lines: readonly string[], _patience: unknown, isWanted = () => true) => {
      asked();
      await itsTurn;
      if (!isWanted()) throw new Error('not wanted any more');
      carriedOut.push(...lines);
      return answer;
    },
  };
  const presence = new VipPresence(
    { relay: relay as unknown as IpRelay, queries: { run: async () => answer } as unknown as IpBatch },
    { vips: () => [VIP], isParked: () => false },
    new Complaints(() => {}),
  );
  const cleaning = presence.clean();
  await removalAsked;
  presence.here = true;
  await presence.move(async () => turn());
  await t.rejects(cleaning, { message: 'not wanted any more' });
  t.strictSame(carriedOut, []);
});
