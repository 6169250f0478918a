import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { CertificateCache } from '../../../lbd/tls/certificate-cache.ts';
import { FileWatch } from '../../../lbd/tls/file-watch.ts';
import { readTlsFiles, tlsPaths } from '../../../lbd/tls/files.ts';
import { TlsStore } from '../../../lbd/tls/material.ts';
import { certify } from './authority.ts';
import { Certificates } from './secure-client.ts';

function config(directory: string, tls: string) {
  const text = `
frontends: { web: { bind: ["*:443"], pool: web, tls: { ${tls} } } }
pools: { web: { tls: { ca: root.pem }, backends: { s1: { address: "10.0.0.1:443" } } } }
`;
  return parseConfig(text, join(directory, 'tandem.yaml'), { cpus: 1 });
}

/** A directory with one good certificate, one with its key in the same file, and what is none. */
function directory(t: Test) {
  const files = new Certificates(t);
  const inside = join(files.directory, 'certs');
  mkdirSync(inside);
  const write = (name: string, text: string) => writeFileSync(join(inside, name), text);
  const a = certify({ name: 'a', alternatives: ['a.example'] });
  const b = certify({ name: 'b', alternatives: ['b.example'] });
  write('a.crt', a.cert);
  write('a.key', a.key);
  write('b.pem', b.cert + b.key);
  write('.hidden.crt', 'x');
  write('README', 'x');
  return { files, inside, write };
}

t.test('a directory of certificates: each counts for itself', async (t) => {
  const { files, inside, write } = directory(t);
  const it = config(files.directory, 'certificates: certs');
  const store = new TlsStore();
  const names = () => store.certificates('web').flatMap((certificate) => certificate.names);
  t.same(store.take(readTlsFiles(it)), []);
  t.same(names(), ['a.example', 'b.example']);
  t.same(store.problems(), []);
  const { version } = store.material(it, []).frontends.web!;

  write('a.crt', 'garbage');
  const c = certify({ name: 'c', alternatives: ['c.example'] });
  write('c.pem', c.cert + c.key);
  t.same(store.take(readTlsFiles(it)), []);
  t.same(names().toSorted(), ['a.example', 'b.example', 'c.example'], 'the old one of a stays, c is new');
  t.match(store.problems(), [/certs\/a\.crt: found no certificate, expected PEM; the old one stays$/]);
  t.not(store.material(it, []).frontends.web!.version, version);

  rmSync(join(inside, 'c.pem'));
  store.take(readTlsFiles(it));
  t.same(
    names().toSorted(),
    ['a.example', 'b.example'],
    'what is removed is gone, also while another is broken',
  );
  rmSync(join(inside, 'a.crt'));
  store.take(readTlsFiles(it));
  t.same(names(), ['b.example'], 'what is removed is gone');
  t.same(store.problems(), []);

  rmSync(inside, { recursive: true });
  t.same(store.take(readTlsFiles(it)), [], 'nothing left: what serves goes on');
  t.same(names(), ['b.example']);
  t.match(store.problems(), [/certs: no such directory; the old one stays$/]);
  t.match(new TlsStore().take(readTlsFiles(it)), [/no such directory/], 'a start has nothing to go on with');
});

t.test('every file that counts is watched', async (t) => {
  const { files, inside } = directory(t);
  const at = (name: string) => join(files.directory, name);
  t.same(
    tlsPaths(
      config(files.directory, 'certificates: [{ cert: a.crt, key: a.key }], client: { ca: root.pem }'),
    ).toSorted(),
    [at('a.crt'), at('a.key'), at('root.pem')],
  );
  const paths = tlsPaths(config(files.directory, 'certificates: certs'));
  t.ok(paths.includes(inside) && paths.includes(join(inside, 'b.pem')));
});

t.test(
  'a change is told once, when it is over: a write, another target of a link, a file that comes',
  async (t) => {
    const { inside } = directory(t);
    const link = join(inside, 'live');
    symlinkSync('a.crt', link);
    let told = () => {};
    let count = 0;
    const watch = new FileWatch(
      () => [link, join(inside, 'new')],
      () => {
        count++;
        told();
      },
      5,
    );
    t.teardown(() => watch.close());
    const change = async (act: () => void) => {
      const heard = new Promise<void>((resolve) => {
        told = resolve;
      });
      act();
      await heard;
    };
    await change(() => watch.start());
    t.equal(count, 1, 'what was read before may be old');
    await change(() => writeFileSync(link, 'another'));
    await change(() => {
      rmSync(link);
      symlinkSync('b.pem', link);
    });
    await change(() => writeFileSync(join(inside, 'new'), 'x'));
    t.equal(count, 4);
  },
);

t.test('a certificate whose files are as they were is not read and checked again', async (t) => {
  const { files, inside, write } = directory(t);
  const it = config(files.directory, 'certificates: certs');
  const cache = new CertificateCache();
  const read = () => readTlsFiles(it, cache).frontends.get('web')!;
  const [a, b] = read().files!.certificates;
  t.same(
    read().files!.certificates.map((certificate) => certificate === a || certificate === b),
    [true, true],
  );
  const other = certify({ name: 'a', alternatives: ['other.example'] });
  write('a.key', other.key);
  t.match(read().problems, [/a\.key: this key is not the one of .*a\.crt$/], 'one of its files is another');
  t.match(read().problems, [/a\.key: this key is not the one of/], 'what is wrong is said each time');
  write('a.crt', other.cert);
  const now = read().files!.certificates;
  t.same(
    now.map(({ names }) => names.join()),
    ['other.example', 'b.example'],
  );
  t.equal(now[1], b, 'the other one is the same all the time');
  rmSync(join(inside, 'b.pem'));
  t.equal(read().files!.certificates.length, 1);
});
