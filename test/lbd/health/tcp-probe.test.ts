import t from 'tap';
import { resultOfError } from '../../../lbd/health/probe.ts';
import { probeTcp } from '../../../lbd/health/tcp-probe.ts';
import { freePort } from '../../common/free-port.ts';
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
  ['ENOTFOUND', 'fail', 'host name s1.test is not known'],
  ['EMFILE', 'inconclusive', 'not checked: this node has no file descriptor left'],
  ['EADDRNOTAVAIL', 'inconclusive', 'not checked: this node has no local address or port left'],
  ['EWHATEVER', 'fail', 'it broke; badly'],
] as const)
  t.test(`${code}: ${outcome}`, (t) => {
    const error = Object.assign(new Error('it broke\n badly'), { code });
    t.match(resultOfError(error, 's1.test'), { outcome, detail });
    t.end();
  });
