import { execFile } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { constants } from 'node:os';
import { promisify } from 'node:util';
import t from 'tap';
import { type Libc, libc } from '../../../common/libc.ts';
import { beginDirectIo, holdings, readSoon, writeSoon } from '../../../lbd/io/direct-io.ts';
import { dial } from '../../../lbd/io/raw-socket.ts';
import { RelaySocket } from '../../../lbd/io/relay-socket.ts';
import { Ring } from '../../../lbd/io/ring.ts';

const PAIRS = 50;
const MESSAGES = 200;

/** Echoes each message, among many others; run in this process, and in one without `node:ffi`. */
async function echo(
  isWanted?: boolean,
  newRing?: () => Ring,
): Promise<{ trouble: string; direct: number; wrong: string[] }> {
  const trouble = beginDirectIo(isWanted, newRing);
  const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const wrong: string[] = [];
  const sockets: net.Socket[] = [];
  const all = Array.from({ length: PAIRS }, async (_, pair) => {
    let sent = 0;
    let got = '';
    const next = () => {
      const bytes = Buffer.from(`${pair}:${++sent};`, 'latin1');
      writeSoon(socket, bytes, 0, bytes.length);
      bytes.fill(0);
    };
    const ended = new Promise<void>((resolve) => {
      const onBytes = (buffer: Buffer, length: number) => {
        got += buffer.latin1Slice(0, length);
        readSoon(socket);
        if (sent < MESSAGES) next();
        else if (got.endsWith(`:${MESSAGES};`)) resolve();
      };
      sockets[pair] = dial('127.0.0.1', port, { onBytes });
    });
    const socket = sockets[pair]!;
    await once(socket, 'connect');
    next();
    await ended;
    const wanted = Array.from({ length: MESSAGES }, (_, i) => `${pair}:${i + 1};`).join('');
    if (got !== wanted) wrong.push(got);
  });
  await Promise.all(all);
  const direct = sockets.filter((it) => it instanceof RelaySocket && it.reader !== undefined).length;
  for (const socket of sockets) socket.destroy();
  server.close();
  return { trouble, direct, wrong };
}

if (process.argv[2] === 'echo') console.log(JSON.stringify(await echo()));
else {
  t.test('many connections at once: each gets its own bytes, in order, once', async (t) => {
    t.same(await echo(), { trouble: '', direct: PAIRS, wrong: [] });
  });

  t.test('without io_uring the same, by a system call for each message, and it says so', async (t) => {
    const { pointer } = libc().syscall;
    const syscall: Libc['syscall'] = Object.assign(() => -1, { pointer });
    const forbidden = { ...libc(), syscall, errno: () => constants.errno.EPERM };
    const { trouble, ...told } = await echo(true, () => new Ring(forbidden));
    t.equal(
      trouble,
      'makes a system call for each message: io_uring cannot be used: io_uring_setup: operation not permitted (EPERM)',
    );
    t.same(told, { direct: PAIRS, wrong: [] });
  });

  t.test('where the config does not want it the same, by Node alone', async (t) => {
    const newRing = () => {
      throw new Error('a ring was made');
    };
    t.same(await echo(false, newRing), {
      trouble: '',
      direct: 0,
      wrong: [],
    });
    t.same(holdings(), { descriptors: [], maps: [] });
  });

  t.test('without node:ffi the same, by Node alone, and it says so', async (t) => {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [
      ...['--no-experimental-ffi', import.meta.filename, 'echo'],
    ]);
    const told = JSON.parse(stdout);
    t.match(told, {
      trouble: /^leaves all reading and writing to Node: .*node:ffi is missing/,
      direct: 0,
      wrong: [],
    });
    t.equal(stderr, '');
  });
}
