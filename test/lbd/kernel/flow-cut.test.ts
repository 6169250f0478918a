import t from 'tap';
import { askRules, cutFlows, deletions } from '../../../lbd/kernel/flow-cut.ts';
import type { KernelService } from '../../../lbd/kernel/kernel-service.ts';

const BACKEND = { name: 's1', address: '192.0.2.21', port: 9 };
const SERVICE: KernelService = {
  name: 'f',
  protocol: 'tcp',
  ports: [[80, 80]],
  addresses: ['192.0.2.100'],
  backends: [BACKEND],
  family: 4,
  pool: 'p',
  source: 'vip',
  onBackendDown: 'cut',
};

t.test('only flows of the frontend and the backend are deleted', async (t) => {
  const common = '-D -f ipv4 -p tcp --dst-nat 192.0.2.21 --reply-port-src 9';
  const said = (service: KernelService) => deletions(service, BACKEND).map((args) => args.join(' '));
  t.strictSame(said(SERVICE), [`${common} --orig-port-dst 80 --orig-dst 192.0.2.100`]);
  t.strictSame(said({ ...SERVICE, ports: [[80, 81]], addresses: ['192.0.2.100', '192.0.2.101'] }), [
    `${common} --orig-dst 192.0.2.100`,
    `${common} --orig-dst 192.0.2.101`,
  ]);
  t.strictSame(said({ ...SERVICE, addresses: [] }), [`${common} --orig-port-dst 80`]);
});

t.test('clients that may still wait are found in what conntrack says', async (t) => {
  const flow = (state: string, port: number) =>
    `tcp      6 299 ${state} src=192.0.2.50 dst=192.0.2.100 sport=${port} dport=80 src=192.0.2.21 dst=192.0.2.100 sport=9 dport=${port} [ASSURED] mark=0 use=1`;
  const text = [
    flow('ESTABLISHED', 1),
    flow('TIME_WAIT', 2),
    flow('ESTABLISHED', 3).replace(' 299', ''),
    'udp      17 28 src=192.0.2.50 dst=192.0.2.100 sport=4 dport=80 src=192.0.2.21 dst=192.0.2.100 sport=9 dport=4',
    'rubbish',
  ].join('\n');
  t.strictSame(
    cutFlows(text).map(({ client, clientPort, address, port }) => [client, clientPort, address, port]),
    [
      ['192.0.2.50', 1, '192.0.2.100', 80],
      ['192.0.2.50', 3, '192.0.2.100', 80],
    ],
  );
});

t.test('each client port is asked once', async (t) => {
  const flow = { client: '192.0.2.50', clientPort: 1, address: '192.0.2.100', port: 80 };
  t.match(askRules([flow, { ...flow, port: 81 }], 4), '{ 192.0.2.100 . 192.0.2.50 . 1 : 81 }');
});
