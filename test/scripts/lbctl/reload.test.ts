import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type ReloadAnswer, refusedReload, SOCKETS } from '../../../common/control.ts';
import { serveControl } from '../../../common/control-server.ts';
import { reloadNode, reloadText } from '../../../scripts/lbctl/reload.ts';
import { tempDir } from '../../common/temp-dir.ts';

const BOTH = { lbd: true, agent: true };
const APPLIED: ReloadAnswer = {
  outcome: 'applied',
  changes: ['pool web changed'],
  problems: [],
  warnings: [],
};
const UNCHANGED: ReloadAnswer = { outcome: 'unchanged', changes: [], problems: [], warnings: [] };
const REFUSED = refusedReload(['tandem.yaml:8:45: ha.vips.1.interface: found eth9', 'another one']);

/** A node whose daemons answer so, and what they were asked in order. */
async function node(
  t: Test,
  answers: { readonly lbd?: ReloadAnswer; readonly agent?: ReloadAnswer; readonly alone?: boolean },
) {
  const runDir = tempDir(t);
  const asked: string[] = [];
  for (const name of ['lbd', 'agent'] as const) {
    const answer = answers[name];
    if (answer === undefined) continue;
    const control = await serveControl(join(runDir, SOCKETS[name]), [
      {
        method: 'POST',
        path: '/v1/reload',
        handle: ({ body }) => {
          const check = (body as { check?: boolean } | undefined)?.check === true;
          asked.push(check ? `${name} check` : name);
          return check && answer.outcome === 'applied' ? { ...answer, outcome: 'accepted' } : answer;
        },
      },
      {
        method: 'GET',
        path: '/v1/status',
        handle: () => ({ sync: { state: answers.alone ? 'off' : 'synced' } }),
      },
    ]);
    t.teardown(() => control.close());
  }
  return { runDir, asked };
}

t.test('both daemons of a node: the agent accepts, lbd applies, the agent applies', async (t) => {
  const { runDir, asked } = await node(t, { lbd: APPLIED, agent: UNCHANGED });
  const reload = await reloadNode(runDir, BOTH);
  t.same(reload, { ok: true, lbd: APPLIED, agent: UNCHANGED });
  t.same(asked, ['agent check', 'lbd', 'agent']);
  t.equal(reloadText(reload), 'lbd: reloaded: pool web changed\nha-agent: the file is unchanged');
});

t.test('without an agent: what reloads lbd alone is said', async (t) => {
  const { runDir, asked } = await node(t, { lbd: APPLIED });
  await t.rejects(reloadNode(runDir, BOTH), {
    code: 'NOT_RUNNING',
    message: /^ha-agent is not running \(.*\); "lbctl reload --lbd" reloads lbd alone$/,
  });
  t.same(asked, []);
  t.same(await reloadNode(runDir, { lbd: true, agent: false }), { ok: true, lbd: APPLIED, agent: null });
});

t.test('what the agent refuses, lbd is not asked for; and the other way round', async (t) => {
  const one = await node(t, { lbd: APPLIED, agent: REFUSED });
  const refused = await reloadNode(one.runDir, BOTH);
  t.same(refused, { ok: false, lbd: null, agent: REFUSED });
  t.same(one.asked, ['agent check', 'agent'], 'so that its status says it, too');
  t.equal(
    reloadText(refused),
    [
      'ha-agent: refused, the old config stays',
      'ha-agent: tandem.yaml:8:45: ha.vips.1.interface: found eth9',
      'ha-agent: another one',
    ].join('\n'),
  );
  const two = await node(t, { lbd: REFUSED, agent: APPLIED });
  t.same(await reloadNode(two.runDir, BOTH), { ok: false, lbd: REFUSED, agent: null });
  t.same(two.asked, ['agent check', 'lbd']);
});

t.test('one daemon alone, by its option or because there is no other', async (t) => {
  const pair = await node(t, { lbd: APPLIED, agent: APPLIED });
  t.same(await reloadNode(pair.runDir, { lbd: true, agent: false }), { ok: true, lbd: APPLIED, agent: null });
  t.same(await reloadNode(pair.runDir, { lbd: false, agent: true }), { ok: true, lbd: null, agent: APPLIED });
  t.same(pair.asked, ['lbd', 'agent']);
  const single = await node(t, { lbd: APPLIED, alone: true });
  t.match(await reloadNode(single.runDir, BOTH), { ok: true, agent: null });
  const widow = await node(t, { lbd: APPLIED });
  await t.rejects(reloadNode(widow.runDir, BOTH), {
    code: 'NOT_RUNNING',
    message: /^ha-agent is not running/,
  });
  t.same(widow.asked, [], 'a pair without its agent: nothing has changed');
});

t.test('what is in force but for a part is no success, what needs a restart is one', async (t) => {
  const partly = { ...APPLIED, problems: ['frontend api: taken'] };
  const one = await node(t, { lbd: partly, alone: true });
  t.match(await reloadNode(one.runDir, BOTH), { ok: false });
  const later = { ...APPLIED, warnings: ['workers is now 8, but needs a restart of lbd; 2 is in force'] };
  const two = await node(t, { lbd: later, alone: true });
  const reload = await reloadNode(two.runDir, BOTH);
  t.match(reload, { ok: true });
  t.match(reloadText(reload), /\nlbd: workers is now 8, but needs a restart/);
});
