import t from 'tap';
import { gatewaysOf } from '../../ha-agent/gateways.ts';

const HEAD = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT';

t.test('the gateways of the default routes', async (t) => {
  const routes = [
    HEAD,
    'eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
    'eth1\t00000000\tFE38A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0',
    'ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0',
    'eth0\t0000000A\t020200C0\t0003\t0\t0\t0\t000000FF\t0\t0\t0',
    'eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    '',
  ].join('\n');
  t.strictSame(gatewaysOf(routes), ['192.0.2.1', '192.168.56.254']);
});

t.test('nothing where there is none, or something else', async (t) => {
  for (const text of ['', HEAD, 'eth0\t00000000\tnothing\t0003', '\0'])
    t.strictSame(gatewaysOf(text), [], JSON.stringify(text));
});
