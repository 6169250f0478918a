import { spawnSync } from 'node:child_process';
import t from 'tap';
import { freeDatagramPort, freePort } from './free-port.ts';

t.test('a port is given once, to whichever process asks', async (t) => {
  const source = `
    import { createServer } from 'node:net';
    createServer().once('error', ({ code }) => console.log(code)).listen('\\0tandem-test-tcp-' + process.argv[1], process.exit);
  `;
  const ports = await Promise.all(Array.from({ length: 20 }, () => freePort()));
  t.equal(new Set(ports).size, ports.length);
  const other = spawnSync(process.execPath, ['--input-type=module', '-e', source, `${ports[0]}`], {
    encoding: 'utf8',
  });
  t.equal(other.stdout.trim(), 'EADDRINUSE', other.stderr);
  t.not(await freeDatagramPort(), await freeDatagramPort());
});
