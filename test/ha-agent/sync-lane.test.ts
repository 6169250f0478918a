import t from 'tap';
import type { AgentStatus, HeartbeatCarriage } from '../../common/control.ts';
import { onlySyncWarning, SyncLane } from '../../ha-agent/sync-lane.ts';

function setup() {
  const carrier = {
    carriage: { up: false, why: 'no peer yet' } as HeartbeatCarriage,
    carried: [] as Buffer[],
    carry(datagram: Buffer): boolean {
      this.carried.push(datagram);
      return this.carriage.up;
    },
  };
  const states: (string | undefined)[] = [];
  const heard: string[] = [];
  const lane = new SyncLane(
    carrier,
    {
      onDatagram: (data) => heard.push(data.toString()),
      onRefused: () => states.push('refused'),
      onState: (why) => states.push(why),
    },
    () => 100,
  );
  const become = (up: boolean, why = '') => {
    carrier.carriage = { up, why };
    lane.changed();
  };
  return { carrier, lane, states, heard, become };
}

t.test('what is too old is not handed on', async (t) => {
  const { lane, heard } = setup();
  lane.receive(Buffer.from('new'), 100);
  lane.receive(Buffer.from('old'), 101);
  t.same(heard, ['new']);
});

t.test('it is down where lbd does not carry, and that proves nothing about the peer', async (t) => {
  const { lane, become, carrier, states } = setup();
  await lane.open();
  t.equal(lane.why, 'no peer yet');
  t.notOk(await lane.send(Buffer.from('x')));
  become(true);
  t.equal(lane.why, undefined);
  t.ok(await lane.send(Buffer.from('y')));
  t.same(carrier.carried.map(String), ['x', 'y']);
  t.same(states, [], 'that it comes up at the start is no news');
  become(false, 'lbd is not connected');
  become(false, 'no session sync yet');
  become(true);
  become(true);
  t.same(states, ['lbd is not connected', undefined]);
});

t.test('it says where nothing else is left', async (t) => {
  const path = (name: string, state: 'up' | 'silent' | 'failed') =>
    ({ name, state }) as AgentStatus['paths'][number];
  const sync = path('sync', 'up');
  t.equal(
    onlySyncWarning([path('a', 'silent'), path('b', 'failed'), sync], 'lb2'),
    'lb2 is heard by the session sync alone: no heartbeat comes by a, b; is a filter in between?',
  );
  for (const paths of [
    [path('a', 'up'), sync],
    [path('a', 'silent'), path('sync', 'silent')],
    [path('a', 'up'), path('sync', 'failed')],
  ])
    t.equal(onlySyncWarning(paths, 'lb2'), undefined);
});
