import { createSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import t, { type Test } from 'tap';
import { monotonicMs } from '../../common/events.ts';
import type { LeaseView } from '../../ha-agent/election-types.ts';
import { groupHash } from '../../ha-agent/heartbeat.ts';
import { LeaseClient } from '../../ha-agent/lease-client.ts';
import {
  encodeQuestion,
  LEASE_MESSAGE_BYTES,
  type LeaseIdentity,
  leaseIdentity,
  NO_TOKEN,
  nodeHash,
} from '../../ha-agent/lease-message.ts';
import { WitnessServer } from '../../ha-agent/witness-server.ts';
import { until } from '../../scripts/lab/wait.ts';

const SHOP = leaseIdentity('shop', Buffer.alloc(32, 1));
const GROUP = 'default';
/** Long enough for a busy machine; nothing waits for its end. */
const LEASE_MS = 20_000;

class Witness {
  readonly said: string[] = [];
  readonly #server: WitnessServer;
  port = 0;
  #aheadMs = 0;

  constructor(port = 0, identities: readonly LeaseIdentity[] = [SHOP]) {
    this.#server = new WitnessServer({
      identities,
      listen: { host: '127.0.0.1', port },
      now: () => monotonicMs() + this.#aheadMs,
      longestMs: LEASE_MS,
      log: (_level, text) => this.said.push(text),
    });
  }

  /** @param grants false: it has just started */
  async open(t: Test, grants = true): Promise<this> {
    this.port = (await this.#server.open()).port;
    t.teardown(() => this.close());
    if (grants) this.pass();
    return this;
  }

  /** Its time of not granting, and every lease, are over. */
  pass(): void {
    this.#aheadMs += 2 * LEASE_MS;
  }

  replaceKeys(identities: readonly LeaseIdentity[]): void {
    this.#server.replaceKeys(identities);
  }

  close(): void {
    this.#server.close();
  }
}

/** A node that renews as its heartbeats go out. */
class Node {
  readonly client: LeaseClient;
  readonly trouble: string[] = [];
  readonly #bus = new EventEmitter();

  constructor(t: Test, name: string, port: number, ...[identity = SHOP, ...former]: LeaseIdentity[]) {
    this.client = new LeaseClient({
      plan: plan(port),
      identities: [identity, ...former],
      node: name,
      selfAddress: '127.0.0.1',
      onView: (_group, view) => this.#bus.emit('view', view),
      onTrouble: (text) => this.trouble.push(text),
    });
    this.client.open();
    this.client.want(GROUP, false, 0);
    const beats = setInterval(() => this.client.beat(), 10);
    t.teardown(() => {
      clearInterval(beats);
      this.client.close();
    });
  }

  get holds(): boolean {
    return this.client.view(GROUP).heldUntilMs > monotonicMs();
  }

  view(): Promise<LeaseView> {
    return once(this.#bus, 'view').then(([view]) => view as LeaseView);
  }
}

function plan(port: number) {
  return { witness: { host: '127.0.0.1', port }, intervalMs: 20, leaseMs: LEASE_MS, awayMs: 500 };
}

t.test('of two nodes one holds the lease, and the other one after its release', async (t) => {
  const witness = await new Witness().open(t);
  const [lb1, lb2] = [new Node(t, 'lb1', witness.port), new Node(t, 'lb2', witness.port)];
  lb1.client.want(GROUP, true, 4);
  await until('lb1 to hold it', () => lb1.holds);
  t.match(lb1.client.status(), { state: 'grants', address: `127.0.0.1:${witness.port}`, why: '' });
  lb2.client.want(GROUP, true, 4);
  await until('lb2 to be denied', () => lb2.client.view(GROUP).takenUntilMs > monotonicMs());
  t.match(lb2.client.view(GROUP), { epoch: 4, heldUntilMs: 0 });
  lb1.client.want(GROUP, false, 4);
  t.notOk(lb1.holds, 'its belief ends at once');
  await until('lb2 to hold it', () => lb2.holds);
  t.match(witness.said, [/goes to node .* at 127\.0\.0\.1, epoch 4$/, /is released by/, /goes to/]);
});

t.test('a witness that has started anew grants nothing at first, and then again', async (t) => {
  const first = await new Witness().open(t);
  const lb1 = new Node(t, 'lb1', first.port);
  lb1.client.want(GROUP, true, 1);
  await until('lb1 to hold it', () => lb1.holds);
  first.close();
  const second = await new Witness(first.port).open(t, false);
  await until('lb1 to know', () => lb1.client.status()?.state === 'starting');
  t.match(lb1.client.status(), { why: /has just started/ });
  t.equal(lb1.client.view(GROUP).reachesWitness, false, 'as if it were away');
  second.pass();
  await until('lb1 to be granted it again', () => lb1.client.status()?.state === 'grants');
});

t.test('a witness that is not there is away', async (t) => {
  const witness = await new Witness().open(t);
  witness.close();
  const lb1 = new Node(t, 'lb1', witness.port);
  t.equal(lb1.client.view(GROUP).reachesWitness, true, 'it may answer yet');
  await until('lb1 to miss it', () => !lb1.client.view(GROUP).reachesWitness);
  t.match(lb1.client.status(), {
    state: 'away',
    why: /^it has never answered; has the witness the key of this secret/,
  });
});

t.test('another witness after a reload: the lease of the former one is worth nothing', async (t) => {
  const [first, second] = [await new Witness().open(t), await new Witness().open(t, false)];
  const lb1 = new Node(t, 'lb1', first.port);
  lb1.client.want(GROUP, true, 1);
  await until('lb1 to hold it', () => lb1.holds);
  lb1.client.configure(plan(second.port));
  t.notOk(lb1.holds);
  second.pass();
  await until('lb1 to hold it again', () => lb1.holds);
  lb1.client.configure(undefined);
  t.equal(lb1.client.status(), undefined);
});

t.test('a node with an address that is not there says so, and goes on trying', async (t) => {
  const witness = await new Witness().open(t);
  const trouble: string[] = [];
  const client = new LeaseClient({
    plan: plan(witness.port),
    identities: [SHOP],
    node: 'lb1',
    selfAddress: '192.0.2.1',
    onView: () => {},
    onTrouble: (text) => trouble.push(text),
  });
  client.open();
  t.teardown(() => client.close());
  await until('the trouble to be said', () => trouble.length > 0);
  t.match(trouble, [/^the witness cannot be asked: .*EADDRNOTAVAIL/]);
});

t.test('two secrets of one cluster share its leases, two clusters do not', async (t) => {
  const next = leaseIdentity('shop', Buffer.alloc(32, 2));
  const other = leaseIdentity('other', Buffer.alloc(32, 3));
  const witness = await new Witness(0, [SHOP, next, other]).open(t);
  const lb1 = new Node(t, 'lb1', witness.port);
  const lb2 = new Node(t, 'lb2', witness.port, next);
  const lb3 = new Node(t, 'lb1', witness.port, other);
  lb1.client.want(GROUP, true, 1);
  await until('lb1 to hold it', () => lb1.holds);
  lb2.client.want(GROUP, true, 1);
  await until('lb2 to be denied', () => lb2.client.view(GROUP).takenUntilMs > monotonicMs());
  lb3.client.want(GROUP, true, 1);
  await until('the other cluster to have its own', () => lb3.holds);
});

t.test(
  'the secret is replaced: the lease counts on, and comes from a witness that has either key',
  async (t) => {
    const next = leaseIdentity('shop', Buffer.alloc(32, 2));
    const witness = await new Witness(0, [SHOP]).open(t);
    const lb1 = new Node(t, 'lb1', witness.port);
    lb1.client.want(GROUP, true, 4);
    await until('lb1 to hold it', () => lb1.holds);
    const renewed = async (what: string) => {
      const { heldUntilMs } = lb1.client.view(GROUP);
      t.ok(lb1.holds, `held ${what}`);
      await until(`it to be renewed ${what}`, () => lb1.client.view(GROUP).heldUntilMs > heldUntilMs);
    };
    lb1.client.rekey([next, SHOP]);
    await renewed('by a witness that has the former key');
    witness.replaceKeys([next]);
    await renewed('by one that has the new key');
    lb1.client.rekey([next]);
    await renewed('without the former secret');
    const lb2 = new Node(t, 'lb2', witness.port, next, SHOP);
    lb2.client.want(GROUP, true, 4);
    await until('lb2 to be denied', () => lb2.client.view(GROUP).takenUntilMs > monotonicMs());
    t.notOk(lb2.holds);
    t.equal(witness.said.filter((line) => line.includes('goes to')).length, 1, 'one lease, once granted');
  },
);

t.test('keys that are read again: what was granted counts on, of a key that is gone, too', async (t) => {
  const next = leaseIdentity('shop', Buffer.alloc(32, 2));
  const other = leaseIdentity('other', Buffer.alloc(32, 3));
  const witness = await new Witness(0, [SHOP]).open(t);
  const lb1 = new Node(t, 'lb1', witness.port);
  lb1.client.want(GROUP, true, 4);
  await until('lb1 to hold it', () => lb1.holds);
  witness.replaceKeys([next, other]);
  const lb2 = new Node(t, 'lb2', witness.port, next);
  lb2.client.want(GROUP, true, 4);
  await until('lb2 to be denied', () => lb2.client.view(GROUP).takenUntilMs > monotonicMs());
  t.ok(lb1.holds, 'it goes on with what it had');
  const lb3 = new Node(t, 'lb1', witness.port, other);
  await until('a cluster that is new to wait', () => lb3.client.status()?.state === 'starting');

  witness.replaceKeys([other]);
  witness.replaceKeys([SHOP, next]);
  const heard = lb2.client.view(GROUP).heardMs;
  await until('lb2 to be answered again', () => lb2.client.view(GROUP).heardMs > heard);
  t.notOk(lb2.holds, 'nor is it forgotten while the cluster has no key');
});

t.test('what is not authentic gets no answer, what is gets one of the same size', async (t) => {
  const witness = await new Witness().open(t);
  const stranger = createSocket('udp4');
  t.teardown(() => stranger.close());
  const question = {
    operation: 'take' as const,
    node: nodeHash('lb1'),
    group: groupHash(GROUP),
    process: 'a1a1a1a1a1a1a1a1',
    token: NO_TOKEN,
    counter: 1,
    timeMs: LEASE_MS,
    epoch: 1,
    silenceMs: 0,
  };
  const forged = encodeQuestion({ ...SHOP, key: Buffer.alloc(32, 9) }, question);
  const answers: number[] = [];
  stranger.on('message', (data) => answers.push(data.length));
  for (const data of [Buffer.from('hello'), Buffer.alloc(65_000), forged, encodeQuestion(SHOP, question)])
    stranger.send(data, witness.port, '127.0.0.1');
  await once(stranger, 'message');
  t.same(answers, [LEASE_MESSAGE_BYTES]);
  t.match(witness.said, [/^a datagram was thrown away, the last one from 127\.0\.0\.1: not a question/]);
  t.equal(witness.said.length, 1, 'a flood does not fill the log');
});
