import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import type { Test } from 'tap';
import { descriptorOf, sendDescriptor } from '../../common/descriptors.ts';

/** A process that goes on until somebody stops or ends it. */
export function startSleeper(t: Test): ChildProcess & { readonly pid: number } {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  return child as ChildProcess & { readonly pid: number };
}

/**
 * An end of `lbd-stat.sock` that passes a descriptor of any file.
 *
 * @param path of the socket @param file such as `/proc/PID/stat`
 */
export async function passFile(t: Test, path: string, file: string): Promise<Server> {
  const descriptor = openSync(file, 'r');
  const server = createServer((socket) => {
    sendDescriptor(descriptorOf(socket), descriptor);
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    server.close();
    closeSync(descriptor);
  });
  return server;
}
