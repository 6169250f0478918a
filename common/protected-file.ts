import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { OperatorError } from './errors.ts';

/** What a file that only some users may read is called, and what becomes of one that is refused. */
export interface ProtectedKind {
  /** In front of the path, such as `the secret`. */
  readonly what: string;
  /** Codes are this and `_MISSING`, `_DENIED`, `_UNREADABLE`, `_EXPOSED`, `_OWNER`. */
  readonly code: string;
  /** What the one who reads that it does not exist should do. */
  readonly missing: (file: string) => string;
  /** The same for a file that this user must not read; undefined: nothing more is said. */
  readonly denied?: string;
  /** Bytes; what a file has beyond them is cut off. */
  readonly maxBytes: number;
}

/** @returns that a file of this kind is refused; `why` follows its path */
export function refusal({ what, code }: ProtectedKind, suffix: string, file: string, why: string) {
  return new OperatorError(`${code}_${suffix}`, `${what} ${file} ${why}`);
}

/**
 * Reads a file that must be closed to strangers: a secret, or a key derived from one.
 *
 * @param anyOwner who owns it does not matter: root looks at it for a daemon that runs as somebody else
 * @returns `maxBytes + 1` bytes at most: one more than allowed says that it is too long
 * @throws OperatorError when it is missing, not a regular file, open to others, writable by its group, or owned by
 *   somebody else than root or this process
 */
export function readProtected(kind: ProtectedKind, file: string, anyOwner = false): Buffer {
  const fd = open(kind, file);
  try {
    // The open file is asked, not its name: what was checked is what is read.
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw refusal(kind, 'UNREADABLE', file, 'is not a regular file');
    if ((stat.mode & 0o007) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
      throw refusal(
        kind,
        'EXPOSED',
        file,
        `is open to every user (mode ${mode}), expected 0600 or 0640: chmod o= ${file}`,
      );
    }
    if ((stat.mode & 0o020) !== 0)
      throw refusal(
        kind,
        'EXPOSED',
        file,
        `may be written by its group, expected 0600 or 0640: chmod g-w ${file}`,
      );
    if (!anyOwner && stat.uid !== 0 && stat.uid !== process.geteuid?.())
      throw refusal(
        kind,
        'OWNER',
        file,
        `belongs to user id ${stat.uid}, expected root or user id ${process.geteuid?.()}`,
      );
    const buffer = Buffer.alloc(kind.maxBytes + 1);
    return buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, 0));
  } finally {
    closeSync(fd);
  }
}

function open(kind: ProtectedKind, file: string): number {
  try {
    // O_NONBLOCK: opening a FIFO must not hang.
    return openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw refusal(kind, 'MISSING', file, `does not exist, ${kind.missing(file)}`);
    if (code === 'EACCES')
      throw refusal(
        kind,
        'DENIED',
        file,
        `is not readable for user id ${process.geteuid?.()}${kind.denied === undefined ? '' : `: ${kind.denied}`}`,
      );
    throw refusal(kind, 'UNREADABLE', file, `cannot be read: ${message}`);
  }
}
