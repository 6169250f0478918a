import { chmodSync } from 'node:fs';
import t from 'tap';
import { PROGRAM_FOLDERS, settlePrograms } from '../../common/programs.ts';
import { tempDir } from './temp-dir.ts';

t.test('no program of a package or of a user is found, whatever PATH says', async (t) => {
  const environment = { PATH: '/tree/node_modules/.bin:/home/user/bin:/usr/bin' };
  await settlePrograms(environment);
  t.strictSame(environment, { PATH: PROGRAM_FOLDERS });
});

t.test('what would run code in a helper is left out, all else stays', async (t) => {
  const environment = {
    ...{
      LD_PRELOAD: '/x.so',
      BASH_ENV: '/x',
      ENV: '/x',
      'BASH_FUNC_ip%%': '() { id; }',
      SHELLOPTS: 'xtrace',
    },
    ...{ LANG: 'C', NOTIFY_SOCKET: '/run/x', TANDEM_LOG: 'info' },
  };
  await settlePrograms(environment);
  t.strictSame(environment, {
    ...{ PATH: PROGRAM_FOLDERS, LANG: 'C', NOTIFY_SOCKET: '/run/x', TANDEM_LOG: 'info' },
  });
});

t.test('other folders, only where nobody else can write', async (t) => {
  const folder = tempDir(t);
  const environment = { TANDEM_PROGRAMS: `${folder}:/usr/bin`, PATH: '/x' };
  await settlePrograms(environment);
  t.equal(environment.PATH, `${folder}:/usr/bin`);

  chmodSync(folder, 0o777);
  await t.rejects(settlePrograms(environment), {
    code: 'UNSAFE_START',
    message: `TANDEM_PROGRAMS is refused: ${folder} may be written by every user (mode 0777)`,
  });
  await t.rejects(settlePrograms({ TANDEM_PROGRAMS: 'bin' }), { message: /bin is not an absolute path/ });
  await t.rejects(settlePrograms({ TANDEM_PROGRAMS: '/usr/bin:' }), { message: /not an absolute path/ });
});
