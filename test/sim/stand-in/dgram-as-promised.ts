import { createSocket, type SimSocket, type SocketOptions } from './dgram.ts';

/** In place of `SocketAsPromised`. */
export class SocketAsPromised {
  readonly socket: SimSocket;

  constructor(socket: SimSocket) {
    this.socket = socket;
  }

  bind(options: { port: number; address?: string }): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.socket.once('error', reject);
      this.socket.bind(options, () => {
        this.socket.off('error', reject);
        resolve(this.socket.address());
      });
    });
  }

  send(data: Buffer, port: number, address: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.socket.send(data, port, address, (error: Error | null) =>
        error ? reject(error) : resolve(data.length),
      );
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.socket.close(resolve);
    });
  }

  addMembership(group: string, via?: string): void {
    this.socket.addMembership(group, via);
  }
  setMulticastInterface(via: string): void {
    this.socket.setMulticastInterface(via);
  }
  setMulticastTTL(): void {}
  setMulticastLoopback(): void {}
}

/** In place of `DgramAsPromised`. */
export const DgramAsPromised = {
  createSocket: (options: SocketOptions): SocketAsPromised => new SocketAsPromised(createSocket(options)),
};
