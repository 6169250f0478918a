import { linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { CertificateBook } from '../../../lbd/tls/certificate-book.ts';
import { CertificateCache } from '../../../lbd/tls/certificate-cache.ts';
import { FileWatch } from '../../../lbd/tls/file-watch.ts';
import { readTlsFiles, tlsPaths } from '../../../lbd/tls/files.ts';
import { compareFiles, type InForce, NOTHING_READ, wantedOf } from '../../../lbd/tls/material.ts';
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
  let inForce: InForce = NOTHING_READ;
  /** Takes the files as they are. @returns what is wrong */
  const take = (from = inForce) => {
    const wanted = wantedOf(it);
    const { missing, problems, frontends, pools } = compareFiles(wanted, readTlsFiles(wanted), from);
    const { web } = frontends;
    if (missing.length === 0 && web !== 'same') inForce = { frontends: { web }, pools };
    return { missing, problems };
  };
  const names = () =>
    new CertificateBook(inForce.frontends.web!.certificates)
      .all()
      .flatMap((certificate) => certificate.names);
  t.same(take(), { missing: [], problems: [] });
  t.same(names(), ['a.example', 'b.example']);
  const before = inForce.frontends.web;
  take();
  t.equal(inForce.frontends.web, before, 'nothing is made anew of files as they were');

  write('a.crt', 'garbage');
  const c = certify({ name: 'c', alternatives: ['c.example'] });
  write('c.pem', c.cert + c.key);
  t.match(take(), {
    missing: [],
    problems: [/certs\/a\.crt: found no certificate, expected PEM; the old one stays$/],
  });
  t.same(names().toSorted(), ['a.example', 'b.example', 'c.example'], 'the old one of a stays, c is new');
  t.not(inForce.frontends.web!.version, before!.version);

  rmSync(join(inside, 'c.pem'));
  take();
  t.same(
    names().toSorted(),
    ['a.example', 'b.example'],
    'what is removed is gone, also while another is broken',
  );
  rmSync(join(inside, 'a.crt'));
  t.same(take().problems, []);
  t.same(names(), ['b.example'], 'what is removed is gone');

  rmSync(inside, { recursive: true });
  t.match(take(), { missing: [], problems: [/certs: no such directory; the old one stays$/] });
  t.same(names(), ['b.example'], 'nothing left: what serves goes on');
  t.match(take(NOTHING_READ).missing, [/no such directory/], 'a start has nothing to go on with');
});

t.test('after a restart no old one is said to stay in the place of a broken certificate', async (t) => {
  const { files, write } = directory(t);
  const wanted = wantedOf(config(files.directory, 'certificates: certs'));
  write('a.crt', 'garbage');
  const start = compareFiles(wanted, readTlsFiles(wanted), NOTHING_READ);
  const inForce = { frontends: { web: start.frontends.web }, pools: {} } as InForce;
  const c = certify({ name: 'c', alternatives: ['c.example'] });
  write('c.pem', c.cert + c.key);
  for (const { problems } of [start, compareFiles(wanted, readTlsFiles(wanted), inForce)])
    t.match(problems, [/certs\/a\.crt: found no certificate, expected PEM$/]);
});

t.test('a directory of more certificates than are allowed is refused, not cut short', async (t) => {
  const { files, inside } = directory(t);
  const certificate = certify({ name: 'n', alternatives: ['n.example'] });
  for (let i = 0; i < 9_998; i++) linkSync(join(inside, 'b.pem'), join(inside, `n${i}.pem`));
  const it = config(files.directory, 'certificates: certs');
  t.equal(tlsPaths(it).length, 10_003, 'all of ten thousand are watched, and a key, and the directory');
  writeFileSync(join(inside, 'last.pem'), certificate.cert + certificate.key);
  t.match(readTlsFiles(it).frontends.get('web'), {
    files: undefined,
    problems: [/certs: found 10001 certificates, expected 10000 at most$/],
  });
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
