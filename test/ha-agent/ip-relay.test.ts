import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { IpRelay } from '../../ha-agent/ip-relay.ts';
import { signalPid } from '../../scripts/lab/signals.ts';
import { until } from '../../scripts/lab/wait.ts';
import { program } from '../common/programs.ts';
import { tempDir } from '../common/temp-dir.ts';

/**
 * In place of `ip`: each process has a number, from 1 on, stands still while there is a file `stall.NUMBER` or `stall`, and
 * writes down what it carries out.
 */
const NUMBERED = `#!/bin/bash
cd DIRECTORY
me=1
until mkdir "process.$me" 2>/dev/null; do me=$((me+1)); done
n=0
while read -r line; do
  n=$((n+1))
  while [ -e "stall.$me" ] || [ -e stall ]; do sleep 0.01; done
  case $line in
    'addr show dev lo') echo '[{"ifname":"lo","link_type":"loopback","addr_info":[]}]' ;;
    addr*) echo "$me $line" >>done ;;
    *) { echo "Object is unknown"; echo "Command failed -:$n"; } >&2 ;;
  esac
done
`;

interface Scene {
  readonly relay: IpRelay;
  readonly slow: string[];
  done(): string[];
  stall(which: string): void;
  goOn(which: string): void;
}

function scene(t: Test): Scene {
  const directory = tempDir(t);
  const slow: string[] = [];
  const events = { onStart: () => {}, onSlow: (why: string) => void slow.push(why) };
  const relay = new IpRelay(events, program(directory, 'ip', NUMBERED.replace('DIRECTORY', directory)));
  t.teardown(async () => {
    const { pids } = relay;
    relay.close();
    // They make files as long as they live.
    await until('they have ended', () => pids.every((pid) => !signalPid(pid, 0)));
  });
  const file = (which: string) => join(directory, which);
  return {
    relay,
    slow,
    done: () => (existsSync(file('done')) ? readFileSync(file('done'), 'utf8').trim().split('\n') : []),
    stall: (which) => writeFileSync(file(which), ''),
    goOn: (which) => rmSync(file(which)),
  };
}

t.test('one that stands still is overtaken, and goes on as the second one', async (t) => {
  const { relay, slow, done, stall, goOn } = scene(t);
  stall('stall.1');
  await relay.renew(['addr replace x']);
  t.strictSame(done(), ['2 addr replace x']);
  t.strictSame(slow, ['ip did not answer within 300 ms']);
  await relay.renew(['addr replace y']);
  t.strictSame(done(), ['2 addr replace x', '2 addr replace y'], 'it is not asked again');
  goOn('stall.1');
});

t.test('what one has not done before a removal never happens', async (t) => {
  const { relay, done, stall, goOn } = scene(t);
  stall('stall.1');
  await relay.renew(['addr replace x']);
  const [late] = relay.pids;
  await relay.change(['addr del x']);
  t.notOk(signalPid(late!, 0), 'it has ended');
  goOn('stall.1');
  t.strictSame(done(), ['2 addr replace x', '2 addr del x']);
});

t.test('a removal that finds its process standing still ends it, with all that it was told', async (t) => {
  const { relay, done, stall, goOn } = scene(t);
  stall('stall.1');
  let wanted = true;
  const renewal = relay.renew(['addr replace x'], () => wanted);
  const [late] = relay.pids;
  wanted = false;
  const removal = relay.change(['addr del x']);
  await t.rejects(renewal, { code: 'IP_FAILED' });
  await removal;
  t.notOk(signalPid(late!, 0), 'it has ended');
  goOn('stall.1');
  t.strictSame(done(), ['2 addr del x'], 'nothing comes after it');
});

t.test('where all stand still, that is said in time, and others are tried the next time', async (t) => {
  const { relay, stall, goOn, done } = scene(t);
  stall('stall');
  await t.rejects(relay.renew(['addr replace x']), {
    code: 'IP_FAILED',
    message: /^ip did not answer within/,
  });
  const { pids } = relay;
  await t.rejects(relay.change(['addr del x']), { code: 'IP_FAILED' });
  t.notOk(
    pids.some((pid) => signalPid(pid, 0)),
    'none of them is left that could do it late',
  );
  goOn('stall');
  await relay.change(['addr del y']);
  t.match(done().at(-1), /addr del y$/);
});

t.test('one that ends at once is not started without end', async (t) => {
  const directory = tempDir(t);
  const starts = join(directory, 'starts');
  const path = program(directory, 'ip', `#!/bin/sh\necho >>${starts}\nexit 1\n`);
  const relay = new IpRelay({ onStart: () => {}, onSlow: () => {} }, path);
  t.teardown(() => relay.close());
  await t.rejects(relay.renew(['addr replace x']), { message: 'ip ended unexpectedly' });
  t.ok(readFileSync(starts, 'utf8').length < 12);
});

t.test('a removal that is not wanted any more when its turn comes never happens', async (t) => {
  const { relay, done } = scene(t);
  let wanted = true;
  const removal = relay.change(['addr del x'], undefined, () => wanted);
  wanted = false;
  const refused = t.rejects(removal, { code: 'IP_FAILED', message: 'not wanted any more' });
  await relay.renew(['addr replace x']);
  await refused;
  await relay.change(['addr del y']);
  t.notMatch(done().join(), /addr del x/);
});
