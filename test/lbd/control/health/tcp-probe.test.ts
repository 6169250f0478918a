import t from 'tap';
import { resultOfError, runBounded } from '../../../../lbd/control/health/probe.ts';
import { probeTcp } from '../../../../lbd/control/health/tcp-probe.ts';
import { freePort } from '../../../common/free-port.ts';
import { serve, target } from './servers.ts';

const { signal } = new AbortController();

t.test('a handshake is enough', async (t) => {
  const { port } = await serve(t, () => {});
  t.match(await probeTcp(target(port), signal), { outcome: 'pass', detail: 'connected' });
});

t.test('refused', async (t) => {
  const result = await probeTcp(target(await freePort()), signal);
  t.match(result, { outcome: 'fail', detail: 'connection refused' });
});

t.test('the port of the check goes before the backend’s own', async (t) => {
  const { port } = await serve(t, () => {});
  const result = await probeTcp(target(await freePort(), { port }), signal);
  t.equal(result.outcome, 'pass');
});

t.test('an aborted check ends', async (t) => {
  const { port } = await serve(t, () => {});
  const controller = new AbortController();
  const result = probeTcp(target(port), controller.signal);
  controller.abort();
  t.equal((await result).outcome, 'inconclusive');
  t.equal((await probeTcp(target(port), controller.signal)).outcome, 'inconclusive', 'aborted before');
});

for (const [code, outcome, detail] of [
  ['EHOSTUNREACH', 'fail', 'no route to the host'],
  ['EMFILE', 'inconclusive', 'not checked: this node has no file descriptor left'],
  ['EADDRNOTAVAIL', 'inconclusive', 'not checked: this node has no local address or port left'],
  ['EWHATEVER', 'fail', 'it broke; badly'],
] as const)
  t.test(`${code}: ${outcome}`, (t) => {
    const error = Object.assign(new Error('it broke\n badly'), { code });
    t.match(resultOfError(error), { outcome, detail });
    t.end();
  });

t.test('silence says nothing of the backend while the kernel drops new connections', async (t) => {
  const after = (heard: boolean, fill: number) =>
    runBounded(
      1,
      signal,
      () => ({ stop: () => {}, stage: () => 'while connecting', heard: () => heard }),
      () => fill,
    );
  t.match(await after(false, 0.97), { outcome: 'fail', detail: 'timed out after 1 ms while connecting' });
  t.match(await after(false, 1), {
    outcome: 'inconclusive',
    detail: "not checked: the connection tracking of this node's kernel is full (nf_conntrack_max)",
  });
  t.match(await after(true, 1), { outcome: 'fail' }, 'the connection was there');
  for (const [code, outcome] of [
    ['ETIMEDOUT', 'inconclusive'],
    ['EPERM', 'inconclusive'],
    ['ECONNREFUSED', 'fail'],
  ] as const) {
    const error = Object.assign(new Error('it broke'), { code });
    t.match(
      resultOfError(error, () => 1),
      { outcome },
      code,
    );
    t.match(
      resultOfError(error, () => 0.5),
      { outcome: 'fail' },
    );
  }
});
