import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { closeSync, openSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';

/**
 * What somebody may try on a node. A program that tries them, as whoever runs it: standard input has a JSON list of them,
 * standard output becomes one of answers: `null` where it worked, else why not.
 */
export type Attempt =
  | { readonly do: 'read' | 'write' | 'create' | 'connect'; readonly path: string }
  | { readonly do: 'signal'; readonly pid: number }
  | { readonly do: 'take'; readonly protocol: 'udp' | 'tcp'; readonly port: number }
  | { readonly do: 'run'; readonly argv: readonly string[] };

const RUN_TIMEOUT_MS = 5000;

async function attempt(it: Attempt): Promise<void> {
  switch (it.do) {
    case 'read':
      return closeSync(openSync(it.path, 'r'));
    case 'write':
      return closeSync(openSync(it.path, 'r+'));
    case 'create':
      closeSync(openSync(it.path, 'wx'));
      return rmSync(it.path);
    case 'connect':
      return settled((good, bad) => {
        const socket = connect(it.path, () => good(() => socket.destroy())).on('error', bad);
      });
    case 'signal':
      // Whoever gets it ignores it, but for the permission it is a signal like any other.
      process.kill(it.pid, 'SIGURG');
      return;
    case 'take':
      return settled((good, bad) => {
        if (it.protocol === 'udp') {
          const socket = createSocket({ type: 'udp4', reuseAddr: true, reusePort: true }).on('error', bad);
          socket.bind(it.port, () => good(() => socket.close()));
        } else {
          const server = createServer().on('error', bad);
          server.listen({ port: it.port, reusePort: true }, () => good(() => server.close()));
        }
      });
    case 'run':
      return settled((good, bad) => {
        const [file, ...args] = it.argv;
        execFile(file!, args, { timeout: RUN_TIMEOUT_MS }, (error) => (error === null ? good() : bad(error)));
      });
  }
}

function settled(
  begin: (good: (undo?: () => void) => void, bad: (error: Error) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) =>
    begin((undo = () => {}) => {
      undo();
      resolve();
    }, reject),
  );
}

if (import.meta.main) {
  const answers: (string | null)[] = [];
  for (const it of JSON.parse(await text(process.stdin)) as Attempt[])
    answers.push(
      await attempt(it).then(
        () => null,
        (error: NodeJS.ErrnoException) => String(error.code ?? error.message),
      ),
    );
  process.stdout.write(JSON.stringify(answers));
}
