import t from 'tap';
import { Plane, RawOrigin } from '../../harness.ts';
import { before, http1 } from './ways.ts';

const SETTINGS = '\0\0\0\x04\0\0\0\0\0';

function frame(type: number, flags: number, stream: number, payload: string): string {
  const length = payload.length;
  return `\0${String.fromCharCode(length >> 8, length & 0xff, type, flags)}\0\0\0${String.fromCharCode(stream)}${payload}`;
}

/** A literal that no table keeps, with a name of its own. */
function field(name: string, value: string): string {
  return `\0${String.fromCharCode(name.length)}${name}${String.fromCharCode(value.length)}${value}`;
}

const OK = '\x88';
const CASES: readonly (readonly [name: string, frames: string, told: RegExp])[] = [
  ['pings without end', frame(6, 0, 0, ' '.repeat(8)).repeat(1200), /too many frames to no end/],
  ['empty frames without end', frame(0, 0, 1, '').repeat(1200), /too many frames|before the head/],
  ['1xx without end', frame(1, 4, 1, field(':status', '103')).repeat(1200), /too many frames to no end/],
  ['a push', frame(5, 4, 1, `\0\0\0\x02${OK}`), /PUSH_PROMISE/],
  ['a stream that nobody began', frame(1, 5, 7, OK), /idle stream/],
  ['a body before its head', frame(0, 1, 1, 'body'), /DATA before the head/],
  ['no status', frame(1, 5, 1, field('a', 'b')), /malformed fields/],
  ['101', frame(1, 4, 1, field(':status', '101')), /malformed fields/],
  ['a name in capitals', frame(1, 5, 1, OK + field('Upper', 'x')), /malformed fields/],
  ['Connection', frame(1, 5, 1, OK + field('connection', 'close')), /malformed fields/],
  ['Transfer-Encoding', frame(1, 4, 1, OK + field('transfer-encoding', 'chunked')), /malformed fields/],
  ['a line end in a value', frame(1, 5, 1, OK + field('a', 'b\r\nc: d')), /invalid/],
  ['less than Content-Length', frame(1, 5, 1, OK + field('content-length', '5')), /Content-Length/],
  ['a block that is no HPACK', frame(1, 5, 1, '\xff\xff\xff\xff\xff\xff'), /invalid HTTP\/2/],
  ['more credit than there is', frame(8, 0, 0, '\x7f\xff\xff\xff'), /window too large/],
  ['credit of nothing', frame(8, 0, 1, '\0\0\0\0'), /WINDOW_UPDATE by nothing/],
];

for (const [name, frames, told] of CASES)
  t.test(name, async (t) => {
    const origin = await RawOrigin.start(t, (socket, _data, connection) => {
      // Behind the preface come SETTINGS of lbd, and then its request.
      const isRequest = /\x01[\x04\x05]\0\0\0\x01/.test(origin.received[connection]!);
      socket.write(isRequest ? frames : SETTINGS, 'latin1');
    });
    const plane = await Plane.start(t, before([origin.port]));
    const answer = await http1(t, plane.port).ask();
    t.equal(answer.status, 502);
    t.match(answer.body.toString(), told);
    t.equal(plane.active, 0);
  });
