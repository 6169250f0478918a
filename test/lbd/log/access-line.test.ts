import t from 'tap';
import type { AccessFields } from '../../../lbd/log/access-fields.ts';
import { accessLine } from '../../../lbd/log/access-line.ts';

const RECORD = {
  ...{
    frontend: 'web',
    client: '192.0.2.7',
    http: true,
    method: 'GET',
    target: '/a?b=c',
    host: 'shop.example',
  },
  ...{
    protocol: 'HTTP/1.1',
    referer: 'http://x/',
    userAgent: 'curl/8',
    requestId: 'id-1',
    status: 200,
    cause: '',
    reason: '',
  },
  ...{ route: 2, pool: 'api', backend: 's1', tries: 1, bytesIn: 80, bytesOut: 130, headsOut: 0 },
  ...{ tlsMs: 3, headMs: 0.0123, queueMs: 0, connectMs: 1.5, firstByteMs: 12.34567, totalMs: 14 },
} as AccessFields;

const line = (change: Partial<AccessFields>, format: 'json' | 'common' | 'combined') =>
  accessLine({ ...RECORD, ...change } as AccessFields, format);
const parsed = (change: Partial<AccessFields> = {}) => JSON.parse(line(change, 'json'));

t.test('json', async (t) => {
  const { time, ...rest } = parsed();
  t.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  t.strictSame(rest, {
    ...{ frontend: 'web', client: '192.0.2.7', method: 'GET', host: 'shop.example', target: '/a?b=c' },
    ...{ protocol: 'HTTP/1.1', status: 200, cause: '', route: 2, pool: 'api', backend: 's1', tries: 1 },
    ...{
      bytes_in: 80,
      bytes_out: 130,
      tls_ms: 3,
      head_ms: 0.012,
      queue_ms: 0,
      connect_ms: 1.5,
      first_byte_ms: 12.346,
    },
    ...{ total_ms: 14, request_id: 'id-1', referer: 'http://x/', user_agent: 'curl/8' },
  });
  t.equal(parsed({ route: -1 }).route, null);
  t.match(parsed({ cause: 'bad_request', reason: 'a "b"' }), { reason: 'a "b"' });
  const tcp = parsed({ http: false, cause: 'connect_failed' });
  t.match(tcp, { cause: 'connect_failed', backend: 's1', total_ms: 14 });
  for (const key of ['method', 'host', 'target', 'status', 'user_agent', 'request_id'])
    t.notOk(key in tcp, key);
});

t.test('common and combined, as log analysers read them', async (t) => {
  const pattern =
    /^192\.0\.2\.7 - - \[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "(.*)" 200 130(.*)\n$/;
  t.strictSame(pattern.exec(line({}, 'common'))?.slice(1), ['GET /a?b=c HTTP/1.1', '']);
  t.strictSame(pattern.exec(line({}, 'combined'))?.slice(1), [
    'GET /a?b=c HTTP/1.1',
    ' "http://x/" "curl/8"',
  ]);
  const bare = line({ protocol: '', method: '', target: '', referer: '', userAgent: '' }, 'combined');
  t.strictSame(pattern.exec(bare)?.slice(1), ['-', ' "-" "-"']);
});

t.test('whatever a client sends, it is one line of ASCII, and nothing gets out of its quotes', async (t) => {
  const nasty = '"\\\r\n\t\0\x1b[31m\x7f\x80\xff", "status":200, "x":"';
  for (const key of ['method', 'target', 'host', 'referer', 'userAgent', 'requestId'] as const) {
    for (const format of ['json', 'common', 'combined'] as const)
      t.match(line({ [key]: nasty }, format), /^[\x20-\x7e]*\n$/, `${format}: ${key}`);
    const names = { userAgent: 'user_agent', requestId: 'request_id' } as Record<string, string>;
    t.equal(parsed({ [key]: nasty })[names[key] ?? key], nasty);
  }
  t.match(line({ userAgent: '"\xe9\\' }, 'combined'), '"\\x22\\xE9\\x5C"\n');
  const long = 'a'.repeat(70_000);
  const all = { method: long, target: long, host: long, referer: long, userAgent: long, requestId: long };
  for (const format of ['json', 'combined'] as const) t.ok(line(all, format).length < 10_000, 'bounded');
  const worst = '\x80'.repeat(70_000);
  t.ok(
    line({ ...all, target: worst, referer: worst, userAgent: worst, requestId: worst }, 'json').length <
      65_536,
  );
});
