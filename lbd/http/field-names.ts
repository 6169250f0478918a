/** Fields that the proxy itself looks at; all others are 0 and pass through unread. */
export const FIELD = {
  other: 0,
  host: 1,
  connection: 2,
  contentLength: 3,
  transferEncoding: 4,
  upgrade: 5,
  expect: 6,
  keepAlive: 7,
  te: 8,
  trailer: 9,
  proxyConnection: 10,
  forwardedFor: 11,
  forwardedProto: 12,
  forwardedHost: 13,
  requestId: 14,
  cookie: 15,
  setCookie: 16,
  /** Reads like one that frames a message or says who asked, to a backend that takes `_` or `.` for `-` (CGI, WSGI, PHP). */
  lookalike: 17,
  date: 18,
  cdnLoop: 19,
  forwarded: 20,
} as const;

/** By name in lower case. */
export const FIELD_IDS: Readonly<Record<string, number>> = {
  host: FIELD.host,
  connection: FIELD.connection,
  'content-length': FIELD.contentLength,
  'transfer-encoding': FIELD.transferEncoding,
  upgrade: FIELD.upgrade,
  expect: FIELD.expect,
  'keep-alive': FIELD.keepAlive,
  te: FIELD.te,
  trailer: FIELD.trailer,
  'proxy-connection': FIELD.proxyConnection,
  forwarded: FIELD.forwarded,
  'x-forwarded-for': FIELD.forwardedFor,
  'x-forwarded-proto': FIELD.forwardedProto,
  'x-forwarded-host': FIELD.forwardedHost,
  'x-request-id': FIELD.requestId,
  cookie: FIELD.cookie,
  'set-cookie': FIELD.setCookie,
  date: FIELD.date,
  'cdn-loop': FIELD.cdnLoop,
};

/** The name of a field that lbd itself adds, sets or removes. */
export class FieldName {
  readonly lower: string;
  /** Of `FIELD`. */
  readonly id: number;
  /** What stands before the value in HTTP/1. */
  readonly prefix: string;

  /** @param text a token */
  constructor(text: string) {
    this.lower = text.toLowerCase();
    this.id = FIELD_IDS[this.lower] ?? FIELD.other;
    this.prefix = `${text}: `;
  }
}

/** A field that is added to messages. */
export class Field {
  readonly name: FieldName;
  readonly value: string;
  /** What routes and hashes see of it. */
  readonly seen: string;

  /**
   * @param value latin1, without CR and LF
   * @param seen where that is not all of the value
   */
  constructor(name: FieldName, value: string, seen = value) {
    this.name = name;
    this.value = value;
    this.seen = seen;
  }
}

/** Fields that are added to many messages, one behind the other. */
export class FieldBlock {
  readonly fields: readonly Field[];
  /** As HTTP/1 writes them, each with its CRLF: made once. */
  readonly lines: Buffer;

  constructor(...fields: readonly Field[]) {
    this.fields = fields;
    let lines = '';
    for (const { name, value } of fields) lines += `${name.prefix}${value}\r\n`;
    this.lines = Buffer.from(lines, 'latin1');
  }
}
