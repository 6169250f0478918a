import t from 'tap';
import { Doorkeeper } from '../../../lbd/session/doorkeeper.ts';

const PEER = '192.0.2.1';
const STRANGER = '198.51.100.7';

/** @returns how many of so many are admitted, none of which ends */
function crowd(door: Doorkeeper, address: string | undefined, count: number, nowMs: number): number {
  let admitted = 0;
  for (let i = 0; i < count; i++) if (door.admit(address, nowMs)) admitted++;
  return admitted;
}

t.test('strangers that stay in the door keep out strangers, not the peer', async (t) => {
  const door = new Doorkeeper(PEER);
  t.equal(crowd(door, STRANGER, 100, 0), 4);
  t.notOk(door.admit(undefined, 0), 'one whose address is gone already is a stranger');
  t.ok(door.admit(PEER, 0));
  door.done(STRANGER);
  t.ok(door.admit('198.51.100.8', 0), 'strangers share their room');
  t.notOk(door.admit('198.51.100.9', 0));
});

for (const address of [PEER, STRANGER])
  t.test(`handshakes that end at once are limited too: ${address}`, async (t) => {
    const door = new Doorkeeper(PEER);
    const storm = (nowMs: number) => {
      let admitted = 0;
      while (door.admit(address, nowMs)) {
        admitted++;
        door.done(address);
      }
      return admitted;
    };
    t.equal(storm(0), 20);
    t.equal(storm(100), 0);
    t.equal(storm(1000), 5);
    t.equal(storm(3_600_000), 20, 'they are not saved up');
  });
