import t from 'tap';
import { listenDescriptor } from '../../common/listen-fds.ts';

t.test('the socket of the service manager', async (t) => {
  const ours = { LISTEN_PID: `${process.pid}`, LISTEN_FDS: '1', LISTEN_FDNAMES: 'x', OTHER: '1' };
  t.equal(listenDescriptor(ours), 3);
  t.strictSame(ours, { OTHER: '1' }, 'no child takes it for its own');
  t.equal(listenDescriptor({}), undefined);
  t.equal(listenDescriptor({ LISTEN_PID: '1', LISTEN_FDS: '1' }), undefined, 'for another process');
  t.equal(listenDescriptor({ LISTEN_PID: `${process.pid}`, LISTEN_FDS: '2' }), undefined, 'more than one');
});
