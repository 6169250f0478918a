import { chmodSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { INTERFACE, NODES, type NodeName, PREFIX, VIP } from '../../scripts/lab/hosts.ts';
import type { Lab } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { twoOwnersMs } from '../../scripts/lab/ownership.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { signalPid } from '../../scripts/lab/signals.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';
import { Helpers } from './helpers.ts';

/** The lifetime of a VIP lasts for four to six renewals. */
const RENEWALS = 8;
const TIMEOUT_MS = 120_000;
const NOT_RENEWED = /^fault .*: the VIPs could not be renewed before their lifetime ended: ip did not/;
const NOTIFY = '/run/lab/notify';
const MOVES = `
  vips:
    - { address: ${VIP}/${PREFIX}, interface: ${INTERFACE} }
  priority: { lb1: 150, lb2: 100 }
  notify: { active: ${NOTIFY}, standby: ${NOTIFY}, fault: ${NOTIFY} }`;

const other = (node: NodeName): NodeName => NODES.find((name) => name !== node)!;

/** Waits until the kernel of a node has renewed the VIP so often. */
async function renewed(lab: Lab, node: NodeName, times: number): Promise<void> {
  const monitor = lab.spawn(node, ['ip', '-o', 'monitor', 'address'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let seen = 0;
  for await (const line of createInterface({ input: monitor.stdout! }))
    if (line.includes(` ${VIP}/`) && !line.startsWith('Deleted') && ++seen >= times) break;
  monitor.kill();
}

/** Pids of the long-lived programs of an agent whose command line has all these words. */
function programs(lab: Lab, node: NodeName, ...words: string[]): number[] {
  return lab
    .commands(node)
    .filter((line) => words.every((word) => line.includes(word)))
    .map((line) => Number.parseInt(line, 10));
}

/** Nobody else has had the VIP since, and it has been there all the time. */
function stays(t: Test, pair: Pair, active: NodeName, since: number): void {
  t.strictSame(pair.ownership.changes.slice(since), [], `the VIP stays on ${active}`);
}

/** One node after the other, never both. */
function moves(t: Test, pair: Pair, from: NodeName, since: number): void {
  const changes = pair.ownership.changes.slice(since);
  const atMs = changes[0]?.atMs ?? 0;
  t.equal(
    twoOwnersMs([{ atMs, node: from, held: true }, ...changes], performance.now()),
    0,
    'never two owners',
  );
  t.strictSame(
    changes.map(({ node, held }) => [node, held]),
    [
      [from, false],
      [other(from), true],
    ],
    `the VIP goes from ${from} to ${other(from)} once`,
  );
}

const warned = (pair: Pair, node: NodeName, text: RegExp) =>
  until(`${node} warns of ${text}`, async () => {
    const { warnings } = await pair.status(node);
    if (warnings.some((line) => text.test(line))) return true;
    throw new Error(warnings.join('; '));
  });

t.test(
  'programs of the host that are slow, hang, fail or die',
  { skip: skipLab(), timeout: 600_000 },
  async (t) => {
    let helpers: Helpers;
    const pair = await startPair(t, { moves: MOVES }, (lab) => {
      writeFileSync(lab.outside(NOTIFY), '#!/bin/sh\nexec sleep 1000\n');
      chmodSync(lab.outside(NOTIFY), 0o755);
      helpers = new Helpers(lab);
      return helpers;
    });
    const { lab, ownership } = pair;
    const mark = () => ownership.changes.length;

    await t.test('one ip after the other stands still: the VIP stays', { timeout: TIMEOUT_MS }, async (t) => {
      const active = pair.active();
      const since = mark();
      for (const pid of programs(lab, active, '/helpers-', '/bin/ip ', '-batch -')) {
        signalPid(pid, 'SIGSTOP');
        await renewed(lab, active, RENEWALS);
      }
      stays(t, pair, active, since);
      await warned(pair, active, /ip is slow or fails: ip did not answer within 300 ms/);
      t.equal((await pair.status(active)).role, 'active');
    });

    await t.test('each ip takes half a second more: the VIP stays', { timeout: TIMEOUT_MS }, async (t) => {
      const active = pair.active();
      const since = mark();
      helpers.hinder(active, 'ip', 'delay 0.5');
      await renewed(lab, active, RENEWALS);
      helpers.hinder(active, 'ip', undefined);
      stays(t, pair, active, since);
    });

    await t.test('one ip takes 1.3 s: the VIP stays', { timeout: TIMEOUT_MS }, async (t) => {
      const active = pair.active();
      const since = mark();
      for (let i = 0; i < 3; i++) {
        helpers.hinder(active, 'ip', 'once 1.3');
        await renewed(lab, active, RENEWALS);
      }
      stays(t, pair, active, since);
    });

    await t.test(
      'nft hangs at a switchover: the VIP does not wait for it, and is renewed',
      { timeout: TIMEOUT_MS },
      async (t) => {
        const from = pair.active();
        const since = mark();
        helpers.hinder(other(from), 'nft', 'hang');
        await pair.switchover(from);
        await ownership.until('the VIP moves', () => ownership.holders().join() === other(from));
        await renewed(lab, other(from), RENEWALS);
        moves(t, pair, from, since);
        await warned(pair, other(from), /nft/);
        helpers.hinder(other(from), 'nft', undefined);
        await pair.whole();
      },
    );

    await t.test('nft takes 6 s while the VIP is held: it is renewed', { timeout: TIMEOUT_MS }, async (t) => {
      const active = pair.active();
      const since = mark();
      helpers.hinder(active, 'nft', 'delay 6');
      await renewed(lab, active, RENEWALS);
      helpers.hinder(active, 'nft', undefined);
      stays(t, pair, active, since);
    });

    await t.test(
      'socat stands still and arping hangs: a takeover does not wait for them',
      { timeout: TIMEOUT_MS },
      async (t) => {
        const from = pair.active();
        const since = mark();
        for (const pid of programs(lab, other(from), 'socat')) signalPid(pid, 'SIGSTOP');
        for (const name of ['socat', 'arping'] as const) helpers.hinder(other(from), name, 'hang');
        await lab.cut(from);
        await ownership.until('the VIP moves', () => ownership.holders().join() === other(from));
        await renewed(lab, other(from), RENEWALS);
        for (const name of ['socat', 'arping'] as const) helpers.hinder(other(from), name, undefined);
        await lab.heal(from);
        await pair.whole();
        moves(t, pair, from, since);
      },
    );

    await t.test(
      'ip hangs for ever: the other node takes over, once the VIP is gone',
      { timeout: TIMEOUT_MS },
      async (t) => {
        const from = pair.active();
        const since = mark();
        helpers.hinder(from, 'ip', 'hang');
        await ownership.until('the VIP moves', () => ownership.holders().join() === other(from));
        moves(t, pair, from, since);
        const said = (await pair.events()).filter(({ node, kind }) => node === from && kind === 'role');
        t.ok(
          said.some(({ text }) => NOT_RENEWED.test(text)),
          'it says why',
        );
        helpers.hinder(from, 'ip', undefined);
        await pair.whole();
        t.equal(pair.active(), other(from), 'the role stays where it is');
      },
    );
  },
);
