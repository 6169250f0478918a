import { appendFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DEFAULT_RESOLVER } from '../../../../common/model.ts';
import { Questions } from '../../../../lbd/control/names/questions.ts';
import { DnsServer } from '../../../common/dns-server.ts';
import { tempDir } from '../../../common/temp-dir.ts';

async function setUp(t: Test) {
  const dns = await DnsServer.start(t);
  const dir = tempDir(t);
  const files = { hosts: join(dir, 'hosts'), resolvConf: join(dir, 'resolv.conf') };
  writeFileSync(files.hosts, '');
  writeFileSync(files.resolvConf, 'search shop.test test\n');
  const [host = '', port] = dns.address.split(':');
  const servers = [{ host, port: Number(port) }];
  const questions = new Questions({ ...DEFAULT_RESOLVER, servers, timeoutMs: 100, attempts: 1 }, files);
  t.teardown(() => questions.close());
  return { dns, files, questions };
}

t.test('addresses of both families, with the shortest TTL', async (t) => {
  const { dns, questions } = await setUp(t);
  dns.set('app.test', ['10.0.0.1', '10.0.0.2', 'fd00::1'], 7);
  t.match(await questions.ask('app.test'), {
    kind: 'found',
    addresses: ['10.0.0.1', '10.0.0.2', 'fd00::1'],
    ttlMs: 7_000,
    unanswered: undefined,
  });
});

t.test(
  'a name without dots is looked for in the search domains of resolv.conf, in their order',
  async (t) => {
    const { dns, files, questions } = await setUp(t);
    dns.set('db.test', ['10.0.0.9']);
    t.match(await questions.ask('db'), { addresses: ['10.0.0.9'] });
    t.strictSame(dns.asked, ['db.shop.test A', 'db.shop.test AAAA', 'db.test A', 'db.test AAAA']);
    writeFileSync(files.resolvConf, 'search test\n');
    dns.asked.length = 0;
    await questions.ask('db');
    t.strictSame(dns.asked, ['db.test A', 'db.test AAAA'], 'the file is read again when it changes');
  },
);

t.test('the file of hosts goes before name servers, and is read again when it changes', async (t) => {
  const { dns, files, questions } = await setUp(t);
  dns.set('app.test', ['10.0.0.1']);
  writeFileSync(files.hosts, '10.9.9.9 App.test\n');
  t.match(await questions.ask('app.TEST'), { kind: 'found', addresses: ['10.9.9.9'], ttlMs: 0 });
  t.strictSame(dns.asked, []);
  appendFileSync(files.hosts, '10.9.9.8 app.test\n');
  t.match(await questions.ask('app.test'), { addresses: ['10.9.9.9', '10.9.9.8'] });
});

t.test('each failure says its cause', async (t) => {
  const { dns, questions } = await setUp(t);
  dns.set('none.test', []);
  dns.names.set('sick.test', 'servfail');
  dns.names.set('mute.test', 'silence');
  t.match(await questions.ask('nobody.test'), { kind: 'none', why: 'the name is not known' });
  t.match(await questions.ask('none.test'), { kind: 'none', why: 'the name has no address' });
  t.match(await questions.ask('sick.test'), {
    kind: 'none',
    why: 'the name server cannot answer (SERVFAIL)',
  });
  t.match(await questions.ask('mute.test'), {
    kind: 'none',
    why: `no name server answers (${dns.address})`,
  });
  t.notOk(dns.asked.includes('mute.test.shop.test A'), 'after silence no further candidate is asked for');
});

t.test('a server that fails for one name is no reason to go to another one', async (t) => {
  const { dns, questions } = await setUp(t);
  dns.names.set('db.shop.test', 'servfail');
  dns.set('db.test', ['10.0.0.9']);
  t.match(await questions.ask('db'), { kind: 'none', why: 'the name server cannot answer (SERVFAIL)' });
  t.notOk(dns.asked.includes('db.test A'), 'it may be somebody else');
});

t.test('a server that never answers for IPv6 holds up nobody', async (t) => {
  const { dns, questions } = await setUp(t);
  dns.set('app.test', ['10.0.0.1']);
  dns.silentFor.add('AAAA');
  t.match(await questions.ask('app.test'), { kind: 'found', addresses: ['10.0.0.1'], unanswered: 6 });
});

t.test('a question that never gets an answer leaves the next one alone', async (t) => {
  const { dns, questions } = await setUp(t);
  dns.set('app.test', ['10.0.0.1']);
  dns.names.set('mute.test', 'silence');
  const mute = Array.from({ length: 8 }, () => questions.ask('mute.test'));
  const ended: string[] = [];
  for (const one of mute) void one.then(() => ended.push('mute'));
  await questions.ask('app.test').then(() => ended.push('app'));
  t.strictSame(ended, ['app']);
  await Promise.all(mute);
});

t.test('a file that cannot be looked at is as one that is not there', async (t) => {
  const { dns, files, questions } = await setUp(t);
  dns.set('app.test', ['10.0.0.1']);
  for (const file of [files.hosts, files.resolvConf]) {
    rmSync(file);
    symlinkSync(file, file);
  }
  t.match(await questions.ask('app.test'), { addresses: ['10.0.0.1'] });
});

t.test('a name server with a zone in resolv.conf ends no question with an exception', async (t) => {
  const dir = tempDir(t);
  const files = { hosts: join(dir, 'hosts'), resolvConf: join(dir, 'resolv.conf') };
  writeFileSync(files.resolvConf, 'nameserver fe80::53%no-such-interface\n');
  const questions = new Questions({ ...DEFAULT_RESOLVER, timeoutMs: 100, attempts: 1 }, files);
  t.teardown(() => questions.close());
  t.match(await questions.ask('app.test'), { kind: 'none', why: /name server/ });
});
