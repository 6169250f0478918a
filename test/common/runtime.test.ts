import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ownRuntime, PATCHED, runtimeWarning } from '../../common/runtime.ts';
import manifest from '../../package.json' with { type: 'json' };

const node = (version: string) => ({ name: 'Node', version, openssl: '3.5.0' });
const released = new Date(PATCHED.released);
const later = (days: number) => new Date(released.getTime() + days * 86_400_000);

t.test('a runtime with known holes, an old one, and good ones', async (t) => {
  for (const version of ['26.9.9', '25.99.0', '26.2.0-nightly'])
    t.match(runtimeWarning(node(version), released), `Node ${version} is older than ${PATCHED.version} of `);
  t.equal(runtimeWarning(node(PATCHED.version), later(180)), undefined);
  t.match(runtimeWarning(node(PATCHED.version), later(181)), /is 181 days old: look for a newer release/);
  for (const version of ['26.10.1', '26.11.0', '27.0.0', '100.0.0'])
    t.equal(runtimeWarning(node(version), later(999)), undefined, version);
});

t.test('the release pins the runtime that it calls patched', async (t) => {
  for (const version of Object.values(manifest.optionalDependencies)) t.equal(version, PATCHED.version);
  const changes = join(import.meta.dirname, `../../node_modules/node-linux-${process.arch}/CHANGELOG.md`);
  t.match(readFileSync(changes, 'utf8'), `## ${PATCHED.released}, Version ${PATCHED.version} `);
  t.match(ownRuntime(), { name: 'Node', version: /^\d+\.\d+\.\d+/, openssl: /^\d+\./ });
});
