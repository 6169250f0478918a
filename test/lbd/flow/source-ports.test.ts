import t from 'tap';
import { insertFailures, portWarnings, SOURCE_PORTS } from '../../../lbd/flow/source-ports.ts';

t.test('what the kernel dropped, over all processors', async (t) => {
  const head = 'entries  clashres found new invalid ignore delete chainlength insert insert_failed drop';
  const line = (failed: string) => `0001f800  00000000 00000000 00000000 0 0 0 0 00000000 ${failed} 00000000`;
  t.equal(
    insertFailures(() => `${head}\n${line('00003c80')}\n${line('00000001')}\n`),
    15_489,
  );
  t.equal(
    insertFailures(() => 'entries found\n1 2\n'),
    undefined,
  );
  t.equal(
    insertFailures(() => {
      throw new Error('ENOENT');
    }),
    undefined,
  );
});

t.test('who comes near the end of the source ports is told before clients are lost', async (t) => {
  const use = (active: number, limit: number | undefined) => ({
    frontend: 'db',
    backend: 's1',
    active,
    limit,
  });
  t.same(
    portWarnings([use(51_000, SOURCE_PORTS), use(1_000_000, undefined), use(60_000, 2 * SOURCE_PORTS)]),
    [],
  );
  t.match(portWarnings([use(52_000, SOURCE_PORTS)]), [
    /^frontend db: 52000 open flows to backend s1, and the kernel has 64512 source ports/,
  ]);
});
