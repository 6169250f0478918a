import t from 'tap';
import { matchedPath, plainPath } from '../../../lbd/route/route-path.ts';

for (const [path, expected] of [
  ['/', '/'],
  ['', '/'],
  ['*', '*'],
  ['/a/b', '/a/b'],
  ['/a/', '/a/'],
  ['/public/../admin', '/admin'],
  ['/public/%2e%2E/admin', '/admin'],
  ['/public/.%2e/admin', '/admin'],
  ['/../../admin', '/admin'],
  ['//admin', '/admin'],
  ['/x//..//admin', '/admin'],
  ['/%61dmin', '/admin'],
  ['/./admin/.', '/admin/'],
  ['/admin/..', '/'],
  ['/a/b/..', '/a/'],
  ['/public\\..\\admin', '/admin'],
  ['/public/..;v=1/admin', '/admin'],
  ['/a;v=1/b', '/a;v=1/b'],
  ['/a%2fb', '/a%2Fb'],
  ['/%252e%252e/admin', '/%252e%252e/admin'],
  ['/%zz/%', '/%zz/%'],
  ['/.well-known/x', '/.well-known/x'],
  ['/...', '/...'],
] as const)
  t.test(`path ${path} is matched as ${expected}`, (t) => {
    t.equal(matchedPath(path), expected);
    t.equal(matchedPath(expected), expected, 'and that is stable');
    t.end();
  });

t.test('a path of the config keeps its dots', (t) => {
  t.equal(plainPath('/%2E/../%2f'), '/./../%2F');
  t.end();
});
