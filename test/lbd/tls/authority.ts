import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** Certificates for tests, made in milliseconds: an authority, what it signs, and what has gone wrong with them. */
export interface Identity {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  readonly keyObject: KeyObject;
  readonly subject: Buffer;
}

export interface Wishes {
  /** Common name; other parts of the subject in `organisation`. */
  readonly name?: string;
  readonly organisation?: string;
  /** DNS names, or IPv4 addresses. */
  readonly alternatives?: readonly string[];
  readonly issuer?: Identity;
  readonly authority?: boolean;
  readonly rsa?: boolean;
  readonly rsaBits?: number;
  readonly fromDays?: number;
  readonly toDays?: number;
}

const DAY_MS = 86_400_000;

/** @param wishes default: a self-signed P-256 certificate, valid from yesterday on for 90 days */
export function certify(wishes: Wishes = {}): Identity {
  const { name = 'test', organisation, alternatives = [], issuer, authority = false } = wishes;
  const { publicKey, privateKey } =
    wishes.rsa || wishes.rsaBits !== undefined
      ? generateKeyPairSync('rsa', { modulusLength: wishes.rsaBits ?? 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = sequence(
    ...(organisation === undefined ? [] : [attribute('55040a', organisation)]),
    attribute('550403', name),
  );
  const signer = issuer?.keyObject ?? privateKey;
  const algorithm =
    signer.asymmetricKeyType === 'rsa'
      ? sequence(oid('2a864886f70d01010b'), tlv(0x05, Buffer.alloc(0)))
      : sequence(oid('2a8648ce3d040302'));
  const time = (days: number) =>
    tlv(
      0x18,
      Buffer.from(`${new Date(Date.now() + days * DAY_MS).toISOString().replace(/[-:T]|\.\d+/g, '')}`),
    );
  const names = alternatives.map((one) =>
    /^[\d.]+$/.test(one) ? tlv(0x87, Buffer.from(one.split('.').map(Number))) : tlv(0x82, Buffer.from(one)),
  );
  const extensions = [
    extension('551d13', authority ? sequence(tlv(0x01, Buffer.of(0xff))) : sequence(), true),
    ...(names.length > 0 ? [extension('551d11', sequence(...names))] : []),
  ];
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.of(2))),
    tlv(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    algorithm,
    issuer?.subject ?? subject,
    sequence(time(wishes.fromDays ?? -1), time(wishes.toDays ?? 90)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensions)),
  );
  const certificate = sequence(body, algorithm, bits(sign('sha256', body, signer)));
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${certificate
      .toString('base64')
      .match(/.{1,64}/g)!
      .join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    keyObject: privateKey,
    subject,
  };
}

function tlv(tag: number, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.of(tag, ...size), body]);
}

function sequence(...items: Buffer[]): Buffer {
  return tlv(0x30, ...items);
}

function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'));
}

function bits(content: Buffer): Buffer {
  return tlv(0x03, Buffer.of(0), content);
}

function attribute(type: string, text: string): Buffer {
  return tlv(0x31, sequence(oid(type), tlv(0x0c, Buffer.from(text))));
}

function extension(type: string, content: Buffer, critical = false): Buffer {
  return sequence(oid(type), ...(critical ? [tlv(0x01, Buffer.of(0xff))] : []), tlv(0x04, content));
}
