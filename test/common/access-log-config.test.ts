import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { problemsIn } from './config-helper.ts';

const text = (all: string, web: string, mode = 'http') => `
${all}
frontends: { web: { bind: ["*:80"], mode: ${mode}, pool: web${web} }, db: { bind: ["*:81"], mode: tcp, pool: web } }
pools: { web: { health: { type: none }, backends: { s1: { address: "10.0.0.1:80" } } } }
`;
const logs = (all: string, web = '', mode = 'http') =>
  parseConfig(text(all, web, mode), '/f', { cpus: 1 }).frontends.map(({ accessLog }) => accessLog);

t.test('who gets which', async (t) => {
  const file = { path: '/var/log/a', format: 'json', sample: 1, maxBytes: 4 * 1024 ** 3 };
  t.strictSame(logs(''), [undefined, undefined]);
  t.strictSame(logs('access_log: { path: /var/log/a }'), [file, file], 'one for all');
  t.strictSame(logs('access_log: { path: /var/log/a }', ', access_log: false'), [undefined, file]);
  t.strictSame(logs('access_log: false', ', access_log: { stdout: true, format: combined, sample: 0.1 }'), [
    { path: '', format: 'combined', sample: 0.1, maxBytes: Number.POSITIVE_INFINITY },
    undefined,
  ]);
  t.match(logs('access_log: { path: /var/log/a, max_size: 1GiB }')[0], { maxBytes: 1024 ** 3 });
  t.strictSame(
    logs('access_log: { path: /var/log/a }', '', 'udp'),
    [file, file],
    'for clients that are refused',
  );
});

t.test('refusals help', async (t) => {
  const cases: readonly [written: string, said: string][] = [
    ['{}', 'access_log: found a mapping, expected either path or stdout: true'],
    ['{ path: /a, stdout: true }', 'access_log: found a mapping, expected either path or stdout: true'],
    ['{ path: a }', 'access_log.path: found "a", expected the absolute path of a file'],
    ['true', 'access_log: found the boolean true, expected false or { path: /FILE } or { stdout: true }'],
    ['{ path: /a, format: xml }', 'access_log.format: found "xml", expected one of json, common, combined'],
    ['{ path: /a, sample: 2 }', 'access_log.sample: found the number 2, expected a number from 0 to 1'],
    [
      '{ path: /a, max_size: 1KiB }',
      'access_log.max_size: found "1KiB", expected a size from 1MiB to 1024GiB',
    ],
    ['{ stdout: true, max_size: 1GiB }', 'access_log: found a mapping, expected max_size for a file only'],
    ['{ path: /a, sampel: 1 }', 'access_log: unknown key "sampel"; did you mean "sample"?'],
  ];
  for (const [written, said] of cases)
    t.ok(problemsIn(text(`access_log: ${written}`, ''))[0]?.includes(said), `${written}: ${said}`);
});
