import t from 'tap';
import { endText } from '../../../lbd/flow/flow.ts';
import { addressBytes, FlowScope } from '../../../lbd/flow/flow-scope.ts';
import { FRONTENDS, tuplesOf, VIP, VIP6 } from './flows.ts';

const scope = new FlowScope(FRONTENDS);
const client = '10.1.0.1:4000';

for (const [name, tuples, place] of [
  [
    'a flow of a frontend',
    tuplesOf('tcp', client, `${VIP}:80`, '10.0.0.22:80'),
    { frontend: 'web', backend: 's2' },
  ],
  [
    'IPv6',
    tuplesOf('udp', '[fd00::1]:4', `[${VIP6}]:53`, '[fd00::21]:53'),
    { frontend: 'dns', backend: 's6' },
  ],
  [
    'a backend of former times',
    tuplesOf('tcp', client, `${VIP}:80`, '10.0.0.9:80'),
    { frontend: 'web', backend: 'other' },
  ],
  ['another port', tuplesOf('tcp', client, `${VIP}:81`, '10.0.0.21:80'), undefined],
  ['another protocol', tuplesOf('udp', client, `${VIP}:80`, '10.0.0.21:80'), undefined],
  ['another address', tuplesOf('tcp', client, '10.0.0.101:80', '10.0.0.21:80'), undefined],
] as const)
  t.test(name, async (t) => {
    t.strictSame(scope.place(tuples), place);
    const length = tuples.length > 26 ? 37 : 13;
    t.equal(scope.has(Buffer.from(tuples, 'latin1'), length), place !== undefined, 'also by its key alone');
  });

t.test('a frontend without addresses takes every address, and ranges of ports', async (t) => {
  const any = new FlowScope([
    {
      ...FRONTENDS[0]!,
      addresses: [],
      ports: [
        [10, 20],
        [80, 80],
      ],
    },
  ]);
  for (const [port, ours] of [
    [9, false],
    [10, true],
    [20, true],
    [21, false],
    [80, true],
  ] as const)
    t.equal(any.place(tuplesOf('tcp', client, `1.2.3.4:${port}`, client)) !== undefined, ours, `${port}`);
  t.equal(any.empty, false);
  t.equal(new FlowScope([]).empty, true);
});

t.test('addresses as bytes', async (t) => {
  for (const [address, bytes] of [
    ['10.0.255.1', '\n\0\xff\x01'],
    ['::', '\0'.repeat(16)],
    ['fd00::1', `\xfd${'\0'.repeat(14)}\x01`],
  ] as const)
    t.equal(addressBytes(address), bytes, address);
  for (const text of ['', '1.2.3', 'host', ':::']) t.equal(addressBytes(text), undefined, text);
});

t.test(
  'where flows of the peer may lead: backends of this config, and those that just left it',
  async (t) => {
    const flow = (backend: string, translated = `${VIP}:9999`) =>
      tuplesOf('tcp', client, `${VIP}:80`, backend, translated);
    t.ok(scope.allows(flow('10.0.0.21:80'), 0));
    t.ok(scope.allows(flow('10.0.0.21:80', client), 0), 'the backend may see the client');
    for (const [backend, translated] of [
      ['10.0.0.21:81'],
      ['10.0.0.99:80'],
      ['10.0.0.21:80', '10.0.0.7:9999'],
    ])
      t.notOk(scope.allows(flow(backend!, translated), 0), `${backend} for ${translated}`);
    t.notOk(
      scope.allows(tuplesOf('udp', client, `${VIP}:53`, '10.0.0.21:80', `${VIP}:9`), 0),
      'of another frontend',
    );
    t.notOk(scope.allows(tuplesOf('tcp', client, '10.0.0.7:80', '10.0.0.21:80'), 0), 'not to a VIP');

    const [web] = FRONTENDS;
    const later = new FlowScope([{ ...web!, backends: web!.backends.slice(1) }], scope, 1000);
    t.ok(later.allows(flow('10.0.0.21:80'), 2000), 'open flows of a backend that left go on');
    t.notOk(later.allows(flow('10.0.0.99:80'), 2000));
    t.notOk(later.allows(flow('10.0.0.21:80'), 3_601_000), 'but not for ever');
    const last = new FlowScope([{ ...web!, backends: [] }], later, 3_000_000);
    t.ok(last.allows(flow('10.0.0.21:80'), 3_000_000));
    t.notOk(last.allows(flow('10.0.0.21:80'), 3_700_000), 'each from when it left');
    t.ok(last.allows(flow('10.0.0.22:80'), 3_700_000));
  },
);

t.test('where a flow leads, for people', async (t) => {
  t.equal(endText(tuplesOf('tcp', client, `${VIP}:80`, '10.0.0.21:8080')), '10.0.0.21:8080');
  t.equal(
    endText(tuplesOf('udp', '[fd00::1]:4', `[${VIP6}]:53`, '[fd00::21]:53')),
    '[fd00:0:0:0:0:0:0:21]:53',
  );
});
