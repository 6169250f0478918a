import t, { type Test } from 'tap';
import { RawLink } from '../../ha-agent/raw-link.ts';
import { firstInPath, program } from '../common/programs.ts';

const LINK = { name: 'eth1', index: 2, mac: '02:00:00:00:00:01' };
const ADDRESS = '192.0.2.100';

/** A link whose `socat` is a script for sh. */
function link(t: Test, socat: string) {
  program(firstInPath(t), 'socat', `#!/bin/sh\n${socat}\n`);
  const troubles: string[] = [];
  let lost: (addresses: readonly string[]) => void = () => {};
  const events = {
    onTrouble: (why: string) => void troubles.push(why),
    onMissing: () => t.fail('missing'),
    onLost: (addresses: readonly string[]) => lost(addresses),
  };
  const raw = new RawLink(LINK, events);
  t.teardown(() => raw.close());
  return { raw, troubles, lost: new Promise<readonly string[]>((resolve) => (lost = resolve)) };
}

t.test('one that stands still is ended, and what it has not announced is told', async (t) => {
  const { raw, troubles, lost } = link(t, 'exec sleep 300');
  t.ok(raw.announce(ADDRESS));
  t.strictSame(await lost, [ADDRESS]);
  t.strictSame(troubles, ['socat has not sent within 500 ms']);
  t.notOk(raw.announce(ADDRESS), 'until there is another one');
});
