import { EventEmitter } from 'node:events';
import type { AgentProcess } from '../agent-process.ts';
import { type Datagram, isMulticast } from '../network.ts';
import { asking, surroundings } from './current.ts';

/** A receive buffer of 208 KiB has room for so many heartbeats; what comes when it is full is lost. */
const BUFFERED = 200;

export interface SocketOptions {
  readonly type: 'udp4' | 'udp6';
  readonly reuseAddr?: boolean;
}

/** In place of `dgram.Socket`. */
export class SimSocket extends EventEmitter {
  port = 0;
  readonly #process: AgentProcess;
  readonly #groups = new Set<string>();
  #address = '';
  #peer: { readonly address: string; readonly port: number } | undefined;
  #device = 'eth0';
  #buffered = 0;
  #open = false;
  #closed = false;
  #forget: () => void = () => {};

  constructor(process: AgentProcess) {
    super();
    this.#process = process;
  }

  bind(options: { port: number; address?: string }, done?: () => void): this {
    const { port, address = '' } = options;
    this.#process.inputLater(0, () => {
      if (this.#closed) return;
      const { machine } = this.#process;
      if (!isMulticast(address) && address !== '' && !hasOwn(this.#process, address)) {
        this.emit('error', failure('EADDRNOTAVAIL', `bind EADDRNOTAVAIL ${address}:${port}`));
        return;
      }
      this.port = port;
      this.#address = address;
      this.#open = true;
      surroundings().network.open(machine, this);
      this.#forget = this.#process.atEnd(() => this.#leave());
      done?.();
      this.emit('listening');
    });
    return this;
  }

  connect(port: number, address: string, done?: (error?: Error) => void): void {
    this.#process.inputLater(0, () => {
      this.#peer = { address, port };
      done?.();
      this.emit('connect');
    });
  }

  send(data: Buffer, ...rest: unknown[]): void {
    const done = rest.at(-1);
    const [port, to] =
      this.#peer === undefined ? (rest as [number, string]) : [this.#peer.port, this.#peer.address];
    const settle = (error: Error | null) => {
      if (typeof done === 'function') done(error, data.length);
    };
    const datagram = { to, port, fromPort: this.port, data: Buffer.from(data), device: this.#device };
    this.sendNow(datagram, settle);
  }

  /** @param settle called when the kernel has taken it, or has refused it; never within this call */
  sendNow(datagram: Datagram, settle: (error: Error | null) => void): void {
    const process = this.#process;
    const { network } = surroundings();
    const { kernel } = process.machine;
    const device = isMulticast(datagram.to) ? this.#device : 'eth0';
    const { exists, up } = kernel.devices.get(device)!;
    if (!exists || !up) {
      queueMicrotask(() =>
        settle(failure('ENETUNREACH', `send ENETUNREACH ${datagram.to}:${datagram.port}`)),
      );
      return;
    }
    if (network.isStalled(process.machine, datagram)) {
      network.whenGoing(process.machine, datagram, () =>
        process.input(() => {
          network.send(process.machine, datagram);
          settle(null);
        }),
      );
      return;
    }
    network.send(process.machine, datagram);
    queueMicrotask(() => settle(null));
  }

  addMembership(group: string, via?: string): void {
    const device = deviceBy(this.#process, via);
    if (device === undefined) throw failure('ENODEV', 'addMembership ENODEV');
    this.#groups.add(`${group} ${device}`);
  }

  setMulticastInterface(via: string): void {
    const device = deviceBy(this.#process, via);
    if (device === undefined) throw failure('ENODEV', 'setMulticastInterface ENODEV');
    this.#device = device;
  }

  setMulticastTTL(): void {}
  setMulticastLoopback(): void {}
  setTTL(): void {}
  setBroadcast(): void {}
  setRecvBufferSize(): void {}
  setSendBufferSize(): void {}
  getSendQueueSize(): number {
    return 0;
  }
  getSendQueueCount(): number {
    return 0;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  address(): { address: string; port: number; family: string } {
    return { address: this.#address, port: this.port, family: 'IPv4' };
  }

  close(done?: () => void): this {
    this.#leave();
    this.#process.inputLater(0, () => {
      done?.();
      this.emit('close');
    });
    return this;
  }

  /** Whether a datagram is for it. @param connected asks for the socket of this very peer */
  takes({ to, port, fromPort, device = 'eth0' }: Datagram, source: string, connected: boolean): boolean {
    if (this.port !== port) return false;
    if (isMulticast(to)) return this.#address === to && this.#groups.has(`${to} ${device}`);
    if (this.#address !== to && this.#address !== '') return false;
    if (connected) return this.#peer?.address === source && this.#peer.port === fromPort;
    return this.#peer === undefined;
  }

  isConnectedTo(address: string, port: number): boolean {
    return this.#peer?.address === address && this.#peer.port === port;
  }

  receive(data: Buffer, address: string, port: number): void {
    if (this.#buffered >= BUFFERED) return;
    this.#buffered++;
    this.#process.input(() => {
      this.#buffered--;
      if (this.#open) this.emit('message', data, { address, port, family: 'IPv4', size: data.length });
    });
  }

  refused(): void {
    this.#process.inputLater(0, () => {
      if (this.#open) this.emit('error', failure('ECONNREFUSED', 'recvmsg ECONNREFUSED'));
    });
  }

  #leave(): void {
    this.#closed = true;
    this.#open = false;
    this.#forget();
    surroundings().network.close(this.#process.machine, this);
  }
}

/** In place of `dgram.createSocket`. */
export function createSocket(options: SocketOptions | string): SimSocket {
  void options;
  return new SimSocket(asking());
}

export type Socket = SimSocket;

function hasOwn({ machine }: AgentProcess, address: string): boolean {
  return [...machine.kernel.addresses.values()].some(
    (held) => held.address === address && machine.kernel.devices.get(held.device)?.exists === true,
  );
}

function deviceBy({ machine }: AgentProcess, address: string | undefined): string | undefined {
  for (const held of machine.kernel.addresses.values()) if (held.address === address) return held.device;
  return undefined;
}

function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
