import { ENGINE_PREFIX, type Registers } from './registers.ts';
import { ProtocolError } from './sync-frame.ts';
import { parseRegister, registerFrame } from './sync-hello.ts';

/** Registers on their way to the peer and from it, each one told when it changes and all of them on a new link. */
export class RegisterExchange {
  readonly #registers: Registers;
  /** To send. */
  readonly #keys = new Set<string>();
  /** On this link. */
  #sent = 0;
  #acked = 0;
  #received = 0;
  #merging = false;
  #tellsEngines = false;

  constructor(registers: Registers) {
    this.#registers = registers;
    registers.onChange((key) => {
      if (!this.#merging) this.#keys.add(key);
    });
  }

  /** A new link. */
  begin(): void {
    this.#sent = this.#acked = this.#received = 0;
    for (const key of this.#registers.keys()) this.#keys.add(key);
  }

  /** @param engines whether the peer takes registers about engines */
  onHello(engines: boolean): void {
    this.#tellsEngines = engines;
  }

  get hasNews(): boolean {
    return this.#keys.size > 0;
  }

  /** Whether the peer has acknowledged all that was sent. */
  get isAcked(): boolean {
    return this.#acked === this.#sent;
  }

  get acked(): number {
    return this.#acked;
  }

  /** Of the peer, for the acknowledgement. */
  get received(): number {
    return this.#received;
  }

  /** The place after every change up to now. */
  get mark(): number {
    return this.#sent + this.#keys.size;
  }

  next(): Buffer | undefined {
    for (const key of this.#keys) {
      this.#keys.delete(key);
      if (key.startsWith(ENGINE_PREFIX) && !this.#tellsEngines) continue;
      const register = this.#registers.register(key);
      if (!register) continue;
      this.#sent++;
      return registerFrame(register);
    }
    return undefined;
  }

  /** @throws ProtocolError for a register that this node does not take */
  receive(payload: Buffer, nowMs: number): void {
    this.#merging = true;
    try {
      const register = parseRegister(payload);
      const breach = this.#registers.breachOf(register, nowMs);
      if (breach !== undefined) throw new ProtocolError(breach);
      this.#registers.merge(register);
    } finally {
      this.#merging = false;
    }
    this.#received++;
  }

  /** @returns false where the peer acknowledges what was never sent */
  ack(count: number): boolean {
    if (count < this.#acked || count > this.#sent) return false;
    this.#acked = count;
    return true;
  }
}
