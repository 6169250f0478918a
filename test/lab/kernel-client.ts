import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Clients of the echo service, in a process of their own. Commands on standard input, one a line:
 * `open ID HOST PORT [FROM]`, `send ID TEXT`, `close ID`. What happens, one line each, on standard output:
 * `ID open`, `ID data TEXT`, `ID end`, `ID error CODE`.
 */
const sockets = new Map<string, Socket>();

function say(...words: string[]): void {
  process.stdout.write(`${words.join(' ')}\n`);
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const [command, id = '', ...rest] = line.split(' ');
  if (command === 'open') {
    const [host = '', port, localAddress] = rest;
    const socket = connect({ host, port: Number(port), ...(localAddress && { localAddress }) });
    sockets.set(id, socket);
    socket.setEncoding('utf8');
    socket.on('connect', () => say(id, 'open'));
    socket.on('data', (text: string) => say(id, 'data', text.trim()));
    socket.on('end', () => say(id, 'end'));
    socket.on('error', (error: NodeJS.ErrnoException) => say(id, 'error', error.code ?? error.message));
  } else if (command === 'send') sockets.get(id)?.write(`${rest.join(' ')}\n`);
  else if (command === 'close') sockets.get(id)?.destroy();
});
