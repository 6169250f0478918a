import t from 'tap';
import { parseOptions, pauseMs } from '../../common/daemon.ts';
import { ConfigError, OperatorError } from '../../common/errors.ts';

t.test('defaults, values, help and version', async (t) => {
  t.same(parseOptions([]), {
    config: '/etc/tandem/tandem.yaml',
    node: undefined,
    runDir: '/run/tandem',
    stateDir: '/var/lib/tandem',
    strict: false,
  });
  t.same(parseOptions(['--config', 'a.yaml', '--node=lb1', '--run-dir', 'run']), {
    config: 'a.yaml',
    node: 'lb1',
    runDir: 'run',
    stateDir: 'run/state',
    strict: false,
  });
  t.match(parseOptions(['--run-dir', 'run', '--state-dir', 'kept']), { runDir: 'run', stateDir: 'kept' });
  t.match(parseOptions(['--strict']), { strict: true });
  t.equal(parseOptions(['-h']), 'help');
  t.equal(parseOptions(['--version']), 'version');
});

t.test('a mistake is one line', async (t) => {
  for (const [args, message] of [
    [['--confg', 'x'], /^Unknown option '--confg'$/],
    [['--config'], /--config <value>' argument missing/],
    [['--node='], /^--node needs a value$/],
    [['start'], /^Unexpected argument 'start'/],
  ] as const)
    t.throws(() => parseOptions(args), { message });
});

t.test('a start that fails by what an operator can mend is not tried again at once by systemd', async (t) => {
  const service = { INVOCATION_ID: 'a' };
  t.equal(pauseMs(new ConfigError([]), service), 5000);
  t.equal(pauseMs(new OperatorError('PORT', 'taken'), service), 5000);
  t.equal(pauseMs(new ConfigError([]), {}), 0, 'nobody waits for it at a terminal');
  t.equal(pauseMs(new Error('bug'), service), 0, 'a crash is mended by a start at once');
});
