// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are the variables of config files
import t from 'tap';
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
