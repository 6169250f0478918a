import { OperatorError } from '../common/errors.ts';
import { readSecret } from '../common/secret.ts';
import { type LeaseIdentity, leaseIdentity } from './lease-message.ts';

const AS_PRINTED = 'as "tandem-witness key" prints them on a node';
const LINE = /^([A-Za-z0-9][A-Za-z0-9_.-]{0,63}) ([0-9a-f]{64})$/;

/** A line of the key file: what a witness needs to know of a cluster. It is worth nothing for heartbeats or sync. */
export function keyLine(cluster: string, key: Buffer): string {
  return `${cluster} ${key.toString('hex')}`;
}

/**
 * Reads a witness's key file: a line for each key, `CLUSTER KEY`. A cluster may have two, while its secret is replaced.
 *
 * @throws OperatorError where it is missing, open to others, or not such a file
 */
export function readKeys(file: string): LeaseIdentity[] {
  const lines = read(file)
    .split('\n')
    .map((line) => line.trim());
  return lines.flatMap((line, i) => {
    if (line === '' || line.startsWith('#')) return [];
    const [, cluster, key] = LINE.exec(line) ?? [];
    if (cluster === undefined || key === undefined)
      throw new OperatorError(
        'WITNESS_KEY',
        `${file}:${i + 1}: expected the name of a cluster and its key, ${AS_PRINTED}`,
      );
    return [leaseIdentity(cluster, Buffer.from(key, 'hex'))];
  });
}

function read(file: string): string {
  try {
    return readSecret(file).toString('latin1');
  } catch (error) {
    if (!(error instanceof OperatorError) || error.code !== 'SECRET_MISSING') throw error;
    const expected = `expected a file with the name of a cluster and its key, ${AS_PRINTED}`;
    throw new OperatorError('WITNESS_KEY', `${file} does not exist; ${expected}`);
  }
}
