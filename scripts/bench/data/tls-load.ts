import { readFileSync } from 'node:fs';
import { connect, createSecureContext, type SecureContext } from 'node:tls';
import { Failures, finish, requestText, taskOf } from './generator.ts';

/**
 * Clients that each open a connection with TLS 1.3, ask once, and close. With `--resume` every connection must resume
 * the session of the one before, without it none may.
 */
const task = taskOf(process.argv.slice(2));
const failures = new Failures();
const context: SecureContext = createSecureContext({ ca: readFileSync(task.ca), minVersion: 'TLSv1.3' });
const request = requestText(task, 'close');
let units = 0;
let counting = false;
let over = false;

// The first connection of each client has no session yet.
const sessions = await Promise.all(Array.from({ length: task.connections }, () => ask(undefined)));
counting = true;
const beganMs = performance.now();
setTimeout(() => {
  over = true;
}, task.seconds * 1000);
await Promise.all(sessions.map(client));
const seconds = (performance.now() - beganMs) / 1000;
finish({ units, seconds, failures: failures.counts });

async function client(first: Buffer | undefined): Promise<void> {
  let session = first;
  while (!over) session = await ask(task.resume ? session : undefined);
}

/** @returns the session to resume with */
function ask(session: Buffer | undefined): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let next = session;
    let answered = '';
    const socket = connect({
      ...{ host: '127.0.0.1', port: task.port, servername: 'bench' },
      ...{ secureContext: context, session },
    });
    socket.on('secureConnect', () => {
      if (socket.isSessionReused() !== (counting && task.resume))
        failures.add(counting && task.resume ? 'not resumed' : 'resumed');
      socket.write(request);
    });
    socket.on('session', (given) => {
      next = given;
    });
    socket.on('data', (bytes: Buffer) => {
      answered += bytes.toString('latin1');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => failures.add(error.code ?? 'error'));
    socket.on('close', () => {
      if (!isWhole(answered)) failures.add('no whole answer');
      else if (counting) units++;
      resolve(next);
    });
  });
}

function isWhole(answer: string): boolean {
  const head = answer.indexOf('\r\n\r\n');
  const length = /^HTTP\/1\.1 200 .*\r\ncontent-length: (\d+)\r\n/is.exec(answer)?.[1];
  return head > 0 && answer.length - head - 4 === Number(length);
}
