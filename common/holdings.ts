import { libc } from './libc.ts';

/** What a thread has from the kernel that does not end with it, but with the process: Node knows nothing of it. */
export interface Holdings {
  readonly descriptors: readonly number[];
  readonly maps: readonly MemoryMap[];
}

/** As `mmap` gave it. */
export interface MemoryMap {
  readonly address: bigint;
  readonly bytes: number;
}

/** Gives it back. Nobody may use any of it any more, or do so twice: others may have got the same numbers since. */
export function giveBack({ descriptors, maps }: Holdings): void {
  const { close, munmap } = libc();
  for (const { address, bytes } of maps) munmap(address, BigInt(bytes));
  for (const descriptor of descriptors) close(descriptor);
}
