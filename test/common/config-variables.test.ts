// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are the variables of config files
import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import type { ConfigError } from '../../common/errors.ts';
import { parseSource } from '../../common/source.ts';

function parsedValue(text: string, env: Record<string, string>): unknown {
  return parseSource(text, 'f', env).value;
}

t.test('${NAME} in a value is taken from the environment', async (t) => {
  const env = { PORT: '8080', HOST: '10.0.0.1', YES: 'true', EMPTY: '', HALF: '0.5', BAD: '[1]' };
  t.strictSame(parsedValue('a: "${HOST}:${PORT}"\n', env), { a: '10.0.0.1:8080' });
  t.strictSame(parsedValue('a: ${PORT}\nb: "${PORT}"\nc: ${YES}\nd: ${HALF}\n', env), {
    ...{ a: 8080, b: '8080', c: true, d: 0.5 },
  });
  t.strictSame(parsedValue('a: ${NONE:-7}\nb: ${EMPTY:-x}\nc: ${HOST:-x}\n', env), {
    a: 7,
    b: 'x',
    c: '10.0.0.1',
  });
  t.strictSame(parsedValue('a: $${HOST}\nb: "^x$"\nc: $HOST\nd: "${1}"\n', env), {
    ...{ a: '${HOST}', b: '^x$', c: '$HOST', d: '${1}' },
  });
  t.strictSame(parsedValue('a: ${BAD}\n', env), { a: '[1]' }, 'it can be no part of the structure');
  t.strictSame(parsedValue('${HOST}: 1\n', env), { '${HOST}': 1 }, 'keys are as they are');
  try {
    parsedValue('a:\n  b: ${NONE}\n', env);
    t.fail('taken');
  } catch (error) {
    t.match((error as ConfigError).problems, [
      { where: 'f:2:6', message: 'the environment has no ${NONE}, and no default is written: ${NONE:-…}' },
    ]);
  }
});

t.test('what came from the environment is not shown in an error', async (t) => {
  const long = 'correct-horse-battery-staple-'.repeat(4);
  const env = { SECRET: 's3cret', LONG: long, LINE: 'a"b\\c', NUMBER: '70000', POOL: 'hidden' };
  const frontend = (rest: string) => `frontends: { web: { bind: ["*:80"], ${rest} } }\n`;
  const pools = 'pools: { web: { backends: { s1: { address: "10.0.0.1:80" } } } }\n';
  const texts: readonly (readonly [text: string, shown: string])[] = [
    [`${frontend('pool: web, mode: "${SECRET}"')}${pools}`, 'found "${SECRET}", expected'],
    [`${frontend('pool: web, mode: "x${LONG}"')}${pools}`, 'found "x${LONG}", expected'],
    [`${frontend('pool: web, mode: "${LINE}"')}${pools}`, 'found "${LINE}", expected'],
    [
      `frontends:\n  web:\n    bind: ["*:80"]\n    pool: web\n    max_connections: \${NUMBER}00\n${pools}`,
      'found "${NUMBER}00", expected',
    ],
    [`${frontend('pool: "${POOL}"')}${pools}`, 'there is no pool "${POOL}"'],
    [`${frontend('routes: [{ match: { path: { regex: "(${SECRET}" } }, pool: web }]')}${pools}`, '${SECRET}'],
    [
      `${frontend('routes: [{ match: { path: { regex: "^/(${SECRET}tail" } }, pool: web }]')}${pools}`,
      '${SECRET}',
    ],
    [`x-a: &a { mode: "\${SECRET}" }\n${frontend('pool: web, <<: *a')}${pools}`, 'found "${SECRET}"'],
  ];
  const before = { ...process.env };
  Object.assign(process.env, env);
  t.teardown(() => {
    process.env = before;
  });
  for (const [text, shown] of texts) {
    let said = '';
    try {
      parseConfig(text, '/f');
    } catch (error) {
      said = (error as ConfigError).message;
    }
    t.match(said, shown, text);
    for (const value of ['s3cret', 'staple', 'a\\"b', '70000', 'hidden'])
      t.notMatch(said, value, `${value} in ${text}`);
  }
});

t.test('a form of the shell that is not known is refused in words', async (t) => {
  for (const form of [
    '${X:?must}',
    '${X?}',
    '${X:+y}',
    '${X-y}',
    '${X:=y}',
    '${X#y}',
    '${X%%y}',
    '${X/a/b}',
    '${X:1}',
  ]) {
    try {
      parsedValue(`a: "${form}"\n`, { X: 'x' });
      t.fail(form);
    } catch (error) {
      t.match((error as ConfigError).problems, [
        {
          where: 'f:1:4',
          message: `found ${form}, expected \${X} or \${X:-DEFAULT}: other forms of the shell`,
        },
      ]);
    }
  }
  t.strictSame(parsedValue('a: "$${X:?must}"\nb: "^a{2}${1}$"\n', {}), { a: '${X:?must}', b: '^a{2}${1}$' });
});
