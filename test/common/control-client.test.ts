import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createRawServer } from 'node:net';
import { dirname, join } from 'node:path';
import t from 'tap';
import { control } from '../../common/control-client.ts';
import { ControlError, serveControl } from '../../common/control-server.ts';
import { OperatorError } from '../../common/errors.ts';
import { tempDir } from './temp-dir.ts';

t.test('answers and refusals of a daemon', async (t) => {
  const socket = join(tempDir(t), 'lbd.sock');
  const server = await serveControl(socket, [
    {
      method: 'GET',
      path: '/v1/echo/:name',
      handle: ({ params, query }) => ({ ...params, q: query.get('q') }),
    },
    { method: 'POST', path: '/v1/body', handle: ({ body }) => ({ body }) },
    { method: 'DELETE', path: '/v1/nothing', handle: () => undefined },
    {
      method: 'GET',
      path: '/v1/refuse',
      handle: () => {
        throw new ControlError(409, 'web/s1 is the last one; "force" it');
      },
    },
  ]);
  t.teardown(() => server.close());
  t.strictSame(await control(socket, 'GET', '/v1/echo/a%2Fb?q=1'), { name: 'a/b', q: '1' });
  t.strictSame(await control(socket, 'POST', '/v1/body', { admin: 'drain', n: 1 }), {
    body: { admin: 'drain', n: 1 },
  });
  t.equal(await control(socket, 'DELETE', '/v1/nothing'), undefined);
  await t.rejects(control(socket, 'GET', '/v1/refuse'), {
    code: 'REFUSED',
    message: 'web/s1 is the last one; "force" it',
  });
});

t.test('daemons that are down or ill', async (t) => {
  const directory = tempDir(t);
  writeFileSync(join(directory, 'dead.sock'), '');
  const missing = control(join(directory, 'agent.sock'), 'GET', '/');
  await t.rejects(missing, {
    code: 'NOT_RUNNING',
    message: /^ha-agent is not running \(no socket at .*agent\.sock\)$/,
  });
  await t.rejects(missing, OperatorError);

  await t.rejects(control(join(directory, 'dead.sock'), 'GET', '/'), {
    code: 'NOT_RUNNING',
    message: /^lbd is not running \(nobody listens at /,
  });

  const text = join(directory, 'text.sock');
  const texts = createServer((_, response) => response.end('<html>')).listen(text);
  t.teardown(() => texts.close());
  await t.rejects(control(text, 'GET', '/'), {
    code: 'CONTROL',
    message: /answered 200 with something that is not JSON/,
  });

  const silent = join(directory, 'silent.sock');
  const mute = createRawServer(() => {}).listen(silent);
  t.teardown(() => mute.close());
  await t.rejects(control(silent, 'GET', '/', undefined, 20), {
    code: 'TIMEOUT',
    message: 'lbd did not answer within 20 ms',
  });

  const rude = join(directory, 'rude.sock');
  const closer = createRawServer((socket) => socket.destroy()).listen(rude);
  t.teardown(() => closer.close());
  await t.rejects(control(rude, 'GET', '/'), {
    code: 'NOT_RUNNING',
    message: /closed the connection without an answer/,
  });
});

t.test(
  'who may not enter the folder of a socket is told who may',
  { skip: process.geteuid?.() !== 0 },
  async (t) => {
    const directory = tempDir(t);
    chmodSync(directory, 0o755);
    const folder = join(directory, 'lb');
    mkdirSync(folder);
    chownSync(folder, 4001, 4005);
    // Not for its group either: that of this process stays root's.
    chmodSync(folder, 0o2700);
    process.seteuid!(65_534);
    try {
      await t.rejects(control(join(folder, 'lbd.sock'), 'GET', '/'), {
        code: 'NOT_ALLOWED',
        message:
          /^no permission for \S+lbd\.sock: root, user id 4001 and members of group id 4005 may use it$/,
      });
      chownSyncAs(folder, 1, 1);
      await t.rejects(control(join(folder, 'lbd.sock'), 'GET', '/'), {
        message:
          /: root, user daemon and members of group daemon may use it \(sudo usermod -aG daemon NAME, and log in again\)$/,
      });
      for (const [uid, who] of [
        [0, 'root'],
        [1, 'root and user daemon'],
      ] as const) {
        chownSyncAs(folder, uid, 0);
        await t.rejects(
          control(join(folder, 'lbd.sock'), 'GET', '/'),
          { message: new RegExp(`lbd\\.sock: ${who} may use it$`) },
          'nobody is told to join the group root',
        );
      }
      chownSyncAs(folder, 0, 1);
      await t.rejects(control(join(folder, 'lbd.sock'), 'GET', '/'), {
        message: /lbd\.sock: root and members of group daemon may use it \(sudo usermod/,
      });
    } finally {
      process.seteuid!(0);
    }
  },
);

t.test(
  'who may not enter the run directory is told who may',
  { skip: process.geteuid?.() !== 0 },
  async (t) => {
    const directory = join(tempDir(t), 'run');
    chmodSync(dirname(directory), 0o755);
    mkdirSync(join(directory, 'lb'), { recursive: true });
    chownSync(directory, 1, 1);
    chmodSync(directory, 0o750);
    process.seteuid!(65_534);
    try {
      await t.rejects(control(join(directory, 'lb', 'lbd.sock'), 'GET', '/'), {
        code: 'NOT_ALLOWED',
        message: /: root, user daemon and members of group daemon may use it /,
      });
    } finally {
      process.seteuid!(0);
    }
  },
);

function chownSyncAs(path: string, uid: number, gid: number): void {
  const user = process.geteuid!();
  process.seteuid!(0);
  chownSync(path, uid, gid);
  process.seteuid!(user);
}
