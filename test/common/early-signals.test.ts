import { EventEmitter } from 'node:events';
import t from 'tap';
import { EarlySignals } from '../../common/early-signals.ts';

t.test('a signal that comes before its handler is not lost', async (t) => {
  const source = new EventEmitter();
  const signals = new EarlySignals(source);
  const handled: string[] = [];
  for (let i = 0; i < 3; i++) source.emit('SIGHUP');
  signals.handle('SIGUSR1', () => handled.push('SIGUSR1'));
  t.same(handled, [], 'not the one that did not come');
  signals.handle('SIGHUP', () => handled.push('SIGHUP'));
  t.same(handled, ['SIGHUP'], 'once, however often it came');
  source.emit('SIGHUP');
  source.emit('SIGUSR1');
  t.same(handled, ['SIGHUP', 'SIGHUP', 'SIGUSR1']);
});

t.test(
  'signals that kill or open a debugger by default have a listener, whether anybody handles them or not',
  async (t) => {
    const source = new EventEmitter();
    new EarlySignals(source);
    t.same(source.eventNames(), ['SIGHUP', 'SIGUSR1', 'SIGUSR2']);
    for (const name of source.eventNames()) source.emit(name);
  },
);
