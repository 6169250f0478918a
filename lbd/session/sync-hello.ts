import { z } from 'zod';
import { messageOf } from '../../common/errors.ts';
import { MAX_REGISTER_KEY, type Register } from './registers.ts';
import { bytesFrame, FRAME, ProtocolError } from './sync-frame.ts';

/** Raise it when frames change their meaning; nodes with different ones refuse each other. */
export const PROTOCOL_VERSION = 1;

const Hello = z.object({
  cluster: z.string().max(255),
  node: z.string().max(255),
  /** Random at each start of the process: sequence numbers are valid within one boot. */
  boot: z.string().regex(/^[0-9a-f]{16}$/),
  capacity: z.int().positive(),
  keyFingerprint: z.int().nonnegative(),
  clock: z.int().min(1).max(0x7fffffff),
  /** What the sender has of the receiver: everything up to `received` of that boot. */
  known: z.object({ boot: z.string().max(16), received: z.int().nonnegative() }).nullable(),
  /** Whether the sender takes part in flow sync; releases before it say nothing. */
  flows: z.boolean().optional(),
  /** Names the connection table of the sender's kernel: another one after each boot; releases before it say nothing. */
  flowTable: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .optional(),
  /** Whether the sender takes a second connection for the agents' heartbeats; releases before it say nothing. */
  heartbeats: z.boolean().optional(),
  /** Whether the sender shares the secrets of session tickets; releases before it say nothing. */
  tickets: z.boolean().optional(),
  /** Whether the sender takes registers about engines; releases before it say nothing. */
  engines: z.boolean().optional(),
  /** Whether the sender has had no session yet, and takes another key of hashes; releases before it say nothing. */
  takesHashKey: z.boolean().optional(),
});
export type Hello = z.infer<typeof Hello>;

const Wire = z.object({
  key: z.string().min(1).max(MAX_REGISTER_KEY),
  value: z.json(),
  version: z.int().positive(),
  origin: z.string().max(255),
});

/** The version comes first and alone, so that any two versions can tell that they differ. */
export function helloFrame(hello: Hello, version = PROTOCOL_VERSION): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(version);
  return bytesFrame(FRAME.hello, Buffer.concat([head, Buffer.from(JSON.stringify(hello))]));
}

/** @throws ProtocolError for another version or a malformed hello */
export function parseHello(payload: Buffer): Hello {
  const version = payload.readUInt32LE();
  if (version !== PROTOCOL_VERSION)
    throw new ProtocolError(
      `the peer speaks version ${version} of session sync, this node ${PROTOCOL_VERSION}: run the same release on both`,
    );
  return parse(Hello, payload.subarray(4), 'hello');
}

export function registerFrame(register: Register): Buffer {
  return bytesFrame(FRAME.register, Buffer.from(JSON.stringify(register)));
}

/** @throws ProtocolError */
export function parseRegister(payload: Buffer): Register {
  return parse(Wire, payload, 'register');
}

function parse<T>(schema: z.ZodType<T>, payload: Buffer, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString());
  } catch (error) {
    throw new ProtocolError(`${what} is not JSON: ${messageOf(error)}`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new ProtocolError(`malformed ${what}: ${issue?.path.join('.')} ${issue?.message}`);
}
