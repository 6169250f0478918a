import t from 'tap';
import { messageOf } from '../../../common/errors.ts';
import { ReaderThread } from '../../../lbd/tls/reader-thread.ts';

const STUCK = new URL('stuck-reader.ts', import.meta.url);
const NOTHING = { frontends: {}, pools: {} };
const WANTED = { file: '/tandem.yaml', frontends: [], pools: [] };

t.test('a file that gives no answer is named, and holds up no reload for long', async (t) => {
  const reader = new ReaderThread({ onChange() {}, tell() {}, entry: STUCK, patienceMs: 200 });
  t.teardown(() => reader.close());
  const read = () => reader.read(WANTED, NOTHING).then(() => 'read', messageOf);
  let said = await read();
  // On a slow machine the thread has not begun yet.
  while (said.includes('the thread that reads them')) said = await read();
  t.equal(said, 'certificates could not be read: /far/shop.key gives no answer for 0.2 s');
  t.equal(await read(), said, 'nor does it the next time');
});
