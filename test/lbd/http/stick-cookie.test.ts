import t, { type Test } from 'tap';
import { withoutCookie } from '../../../lbd/route/router.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';
import { Certificates, SecureClient } from '../tls/secure-client.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** @param stick of the pool, in flow style. @param tls of the frontend */
async function start(t: Test, stick: string, tls = '') {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await Plane.start(
    t,
    `
frontends: { web: { bind: ["127.0.0.1:PORT"], pool: web, ${tls} } }
pools: { web: { stick: ${stick}, backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
  );
  const ask = async (request: string) => {
    const client = await RawClient.open(t, plane.port);
    client.write(request);
    const answer = await client.until((text) => text.endsWith('\r\n\r\nok'));
    client.socket.destroy();
    return setCookie(answer);
  };
  return { origin, plane, ask };
}

function setCookie(answer: string): string | undefined {
  return /\r\nSet-Cookie: (.*)\r\n/.exec(answer)?.[1];
}

t.test('over HTTPS the sticky cookie is Secure', async (t) => {
  const files = new Certificates(t);
  const tls = `tls: { certificates: [${files.server('a.example').files}] }`;
  const { plane } = await start(t, '{ cookie: SERVERID }', tls);
  const client = await SecureClient.open(t, plane.port);
  t.equal(setCookie(await client.ask()), 'SERVERID=s1; Path=/; HttpOnly; SameSite=Lax; Secure');
  const open = await start(t, '{ cookie: { name: SERVERID, secure: false } }', tls);
  const other = await SecureClient.open(t, open.plane.port);
  t.equal(setCookie(await other.ask()), 'SERVERID=s1; Path=/; HttpOnly; SameSite=Lax');
});

t.test('a sticky cookie has the attributes of the config', async (t) => {
  const said = '{ name: S, path: /shop, domain: Shop.Example, same_site: none, secure: true, max_age: 8h }';
  const { ask } = await start(t, `{ cookie: ${said} }`);
  t.equal(
    await ask(GET),
    'S=s1; Path=/shop; Domain=shop.example; Max-Age=28800; HttpOnly; SameSite=None; Secure',
  );
});

t.test('the cookie of lbd does not go to the backend unless told so', async (t) => {
  const cookies = (lines: string) => GET.replace('\r\n\r\n', `\r\n${lines}\r\n`);
  const { origin, ask } = await start(t, '{ cookie: SERVERID }');
  for (const [lines, expected] of [
    ['Cookie: SERVERID=s1\r\n', []],
    ['Cookie: a=b; SERVERID=s1; c=d\r\n', ['Cookie: a=b; c=d']],
    ['cookie: SERVERID=s1\r\nX-A: 1\r\nCookie: c=d\r\n', ['Cookie: c=d']],
    ['Cookie: SERVERID=s1; SERVERID = s2\r\n', []],
    ['Connection: Cookie\r\nCookie: a=b; SERVERID=s1\r\n', []],
    ['Cookie: NOTSERVERID=s1;x=SERVERID\r\n', ['Cookie: NOTSERVERID=s1;x=SERVERID']],
  ] as const) {
    await ask(cookies(lines));
    const got = origin.received.at(-1)!.split('\r\n\r\n').at(-2)!;
    t.same(got.match(/^cookie:.*$/gim) ?? [], expected, lines);
  }
  t.notMatch(origin.received.join(''), /[^T]SERVERID=s/);
  const forwarding = await start(t, '{ cookie: { name: SERVERID, forward: true } }');
  await forwarding.ask(cookies('Cookie: SERVERID=s1\r\n'));
  t.match(forwarding.origin.received[0], '\r\nCookie: SERVERID=s1\r\n');
});

t.test('a Cookie field without the cookies of one name', (t) => {
  for (const [header, expected] of [
    ['a=1', 'a=1'],
    ['S=1', ''],
    ['S=1; S=2', ''],
    ['a=1;S=2', 'a=1'],
    ['S=1;a=1', 'a=1'],
    ['a=1;\tS =2 ; b=S=', 'a=1; b=S='],
    ['S; a=S=1', 'S; a=S=1'],
    ['a=S; v=voil\xc3\xa0', 'a=S; v=voil\xc3\xa0'],
    ['S=1; v=voil\xc3\xa0', 'v=voil\xc3\xa0'],
    ['a=1;\xa0S=zz', 'a=1;\xa0S=zz'],
  ] as const)
    t.equal(withoutCookie(header, 'S'), expected, header);
  t.end();
});
