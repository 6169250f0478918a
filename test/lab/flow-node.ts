import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { FlowSync } from '../../lbd/flow/flow-sync.ts';
import type { KernelFrontend } from '../../lbd/flow/kernel-frontend.ts';
import { Registers } from '../../lbd/session/registers.ts';
import { SessionSync } from '../../lbd/session/sync-link.ts';
import { SessionTable } from '../../lbd/session/table.ts';
import { ADDRESS, BACKENDS, VIP } from '../../scripts/lab/hosts.ts';

/**
 * The flow sync of one node without the rest of lbd. Lines on standard input: `active`, `finishing` or `standby`, and
 * `status`, which is answered with one line of JSON.
 *
 *     flow-node.ts NODE
 */
const name = process.argv[2] as 'lb1' | 'lb2';
const peer = name === 'lb1' ? 'lb2' : 'lb1';
const log = pino({ level: 'info', name }, pino.destination(2));

const backendsAt = (port: number) => BACKENDS.map((it) => ({ name: it, address: ADDRESS[it], port }));
const service = (protocol: 'tcp' | 'udp', port: number): KernelFrontend => ({
  name: `${protocol}${port}`,
  protocol,
  ports: [[port, port]],
  addresses: [VIP],
  backends: backendsAt(port),
});

const flows = new FlowSync({ peer, tell: (level, text) => log[level](text) });
const sync = new SessionSync({
  table: new SessionTable(SessionTable.create(1024), 0, { hashKey: Uint32Array.of(1, 2, 3, 4) }),
  registers: new Registers(name),
  self: { name, address: ADDRESS[name] },
  peer: { name: peer, address: ADDRESS[peer] },
  port: 7472,
  keys: [Buffer.alloc(32, 7)],
  cluster: 'lab',
  log,
  companion: flows.companion,
});
flows.assign(new Map([[VIP, 'standby']]));
flows.apply([service('tcp', 5000), service('tcp', 5001), service('udp', 5002)]);
await sync.start();

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  if (line === 'active' || line === 'standby' || line === 'finishing') flows.assign(new Map([[VIP, line]]));
  else {
    const status = { sync: sync.status(), flows: flows.status(), cpu: process.cpuUsage() };
    process.stdout.write(`${JSON.stringify(status)}\n`);
  }
});
await once(lines, 'close');
flows.close();
await sync.close();
