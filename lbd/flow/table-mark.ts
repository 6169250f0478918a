import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { libc, SO, SOCK, SOL_SOCKET } from '../../common/libc.ts';

const BOOT = '/proc/sys/kernel/random/boot_id';
const AF_UNIX = 1;

/**
 * Names the connection table of this process's network namespace: the same as long as the kernel has it, another one after
 * each boot and in each namespace. 16 hex digits, of which nobody learns the boot id, which is nobody's business.
 *
 * @param boot reads the kernel's boot id
 * @throws Error where the kernel tells no boot id
 */
export function tableMark(boot = () => readFileSync(BOOT, 'latin1')): string {
  const hash = createHash('sha256').update(`tandem connection table\n${boot()}\n${namespaceCookie()}`);
  return hash.digest('hex').slice(0, 16);
}

/** A number that no other network namespace of this boot has had; 0 before Linux 5.14, which has no such thing. */
function namespaceCookie(): bigint {
  const { socket, getsockopt, close } = libc();
  const fd = socket(AF_UNIX, SOCK.datagram | SOCK.closeOnExec, 0);
  if (fd < 0) return 0n;
  const value = Buffer.alloc(8);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  const result = getsockopt(fd, SOL_SOCKET, SO.namespaceCookie, value, length);
  close(fd);
  return result < 0 ? 0n : value.readBigUInt64LE();
}
