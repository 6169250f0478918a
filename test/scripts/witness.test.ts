import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { groupHash } from '../../ha-agent/heartbeat.ts';
import {
  encodeQuestion,
  type LeaseIdentity,
  leaseIdentity,
  NO_TOKEN,
  nodeHash,
} from '../../ha-agent/lease-message.ts';
import { keyLine } from '../../ha-agent/witness-keys.ts';
import { until } from '../../scripts/lab/wait.ts';
import { freeDatagramPort } from '../common/free-port.ts';
import { nodeCommand } from '../common/node.ts';
import { tempDir } from '../common/temp-dir.ts';

const PROGRAM = fileURLToPath(new URL('../../scripts/witness.ts', import.meta.url));
const [FORMER, NEXT] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];

/** The program, and the key file that it reads. */
async function witness(t: Test, text: string) {
  const file = join(tempDir(t), 'witness.key');
  const write = (lines: string) => writeFileSync(file, lines, { mode: 0o600 });
  write(text);
  const port = await freeDatagramPort();
  const listen = `127.0.0.1:${port}`;
  const child = spawn(...nodeCommand('--disable-sigusr1', PROGRAM, '--key', file, '--listen', listen));
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (said += data));
  const says = (what: RegExp) => until(String(what), () => what.exec(said) ?? undefined);
  return { child, port, write, says };
}

/** Whether questions that are signed with a key get an answer. */
async function answers(t: Test, port: number, identity: LeaseIdentity): Promise<boolean> {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  const question = {
    operation: 'look' as const,
    node: nodeHash('lb1'),
    group: groupHash('default'),
    process: 'a1a1a1a1a1a1a1a1',
    token: NO_TOKEN,
    counter: 1,
    timeMs: 1_000,
    epoch: 1,
    silenceMs: 0,
  };
  socket.send(encodeQuestion(identity, question), port, '127.0.0.1');
  await once(socket, 'message');
  return true;
}

t.test(
  'SIGHUP has the witness read its key file again, and a bad one is refused with its cause',
  async (t) => {
    const { child, port, write, says } = await witness(t, keyLine('shop', FORMER));
    await says(new RegExp(`listens on 127\\.0\\.0\\.1:${port}, and grants`));
    write(`${keyLine('shop', FORMER)}\n${keyLine('shop', NEXT)}\n`);
    child.kill('SIGHUP');
    await says(/witness\.key was read again/);
    t.ok(await answers(t, port, leaseIdentity('shop', NEXT)), 'the key that was added');
    write('shop short and of no use whatsoever\n');
    child.kill('SIGHUP');
    await says(/the keys from before stay: .*witness\.key:1: expected the name of a cluster and its key/);
    write(`# no key at all, and long enough\n`);
    child.kill('SIGHUP');
    await says(/the keys from before stay: .*witness\.key has no key/);
    t.ok(await answers(t, port, leaseIdentity('shop', FORMER)), 'the keys that it had');
    t.equal(child.exitCode, null);
  },
);

/** Bit 0 of the signals that a process catches: SIGHUP. */
function catchesHangup(pid: number): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '0';
  return (BigInt(`0x${caught}`) & 1n) === 1n;
}

t.test('SIGHUP during the start neither ends the witness nor is lost', async (t) => {
  const { child, says } = await witness(t, keyLine('shop', FORMER));
  while (!catchesHangup(child.pid!)) await new Promise(setImmediate);
  child.kill('SIGHUP');
  await says(/was read again/);
  t.equal(child.signalCode, null);
});
