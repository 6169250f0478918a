import t from 'tap';
import { data, type Fields, FLAG, GET, headers, holdRules, POST, request } from './harness.ts';

/** What clients can do wrong in requests, by the section that says so, and what they are told. */

const field = (name: string, value: string): Fields => request('GET', '/', [name, value]);
const ask = (...fields: Fields) => headers(1, fields);
const without = (name: string) => ask(...GET.filter(([it]) => it !== name));
const instead = (name: string, value: string) =>
  ask(...GET.map(([it, was]) => [it, it === name ? value : was] as const));
const upload = headers(1, POST, 0);
const ofLength = (length: string, flags = 0) =>
  headers(1, request('POST', '/hold', ['content-length', length]), flags);
const END = FLAG.endStream;

t.test('pseudo fields', (t) => {
  holdRules(t, [
    ['§8.3 one that nobody knows', 'stream 1 protocol', ask([':proto', 'x'], ...GET)],
    ['§8.3 one of an answer', 'stream 1 protocol', ask(...GET, [':status', '200'])],
    ['§8.3 one behind a field', 'stream 1 protocol', ask(...GET.slice(0, 3), ['x', 'b'], [':path', '/'])],
    ['§8.3 one in trailers', 'stream 1 protocol', upload, headers(1, [[':path', '/']])],
    ...GET.map(
      ([name, value]) => [`§8.3.1 ${name} twice`, 'stream 1 protocol', ask(...GET, [name, value])] as const,
    ),
    ['§8.3.1 no :method', 'stream 1 protocol', without(':method')],
    ['§8.3.1 no :scheme', 'stream 1 protocol', without(':scheme')],
    ['§8.3.1 no :path', 'stream 1 protocol', without(':path')],
    ['§8.3.1 no field at all', 'stream 1 protocol', ask()],
    ['§8.3.1 an empty :method', 'stream 1 protocol', instead(':method', '')],
    ['§8.3.1 an empty :path', 'stream 1 protocol', instead(':path', '')],
    ['§8.3.1 :path without a slash', 'stream 1 protocol', instead(':path', 'a')],
    ['§8.3.1 :path is a URL', 'stream 1 protocol', instead(':path', 'http://a.example/')],
    ['§8.3.1 * of GET', 'answer 1 400', instead(':path', '*')],
    ['§8.3.1 * of OPTIONS', 'answer 1 200', ask(...request('OPTIONS', '*'))],
    ['§8.3.1 an empty :scheme', 'stream 1 protocol', instead(':scheme', '')],
    ['§8.3.1 another :scheme', 'stream 1 protocol', instead(':scheme', 'ftp')],
    ['§8.3.1 :scheme https in the clear', 'answer 1 200', instead(':scheme', 'https')],
    ['§8.3.1 an empty :authority', 'stream 1 protocol', instead(':authority', '')],
    ['§8.3.1 userinfo in :authority', 'answer 1 400', instead(':authority', 'me@a.example')],
    ['§8.3.1 a path in :authority', 'answer 1 400', instead(':authority', 'a.example/b')],
    ['§8.3.1 a space in :authority', 'answer 1 400', instead(':authority', 'a b')],
    ['§8.3.1 a list in :authority', 'answer 1 400', instead(':authority', 'a,b')],
    ['§8.3.1 no :authority, no Host', 'answer 1 400', without(':authority')],
    [
      '§8.3.1 no :authority, but Host',
      'answer 1 200',
      ask(...GET.filter(([it]) => it !== ':authority'), ['host', 'a']),
    ],
    ['§8.3.1 Host as :authority', 'answer 1 200', ask(...field('host', 'a.example'))],
    ['§8.3.1 Host as :authority, but for its case', 'answer 1 200', ask(...field('host', 'A.Example'))],
    [
      '§8.3.1 Host as :authority, twice',
      'stream 1 protocol',
      ask(...request('GET', '/', ['host', 'a.example'], ['host', 'a.example'])),
    ],
    ['§8.3.1 another Host', 'stream 1 protocol', ask(...field('host', 'b.example'))],
    [
      '§8.3.1 several Hosts',
      'answer 1 400',
      ask(...GET.filter(([it]) => it !== ':authority'), ['host', 'a'], ['host', 'b']),
    ],
    ['§8.5 CONNECT', 'answer 1 501', ask([':method', 'CONNECT'], [':authority', 'a.example:443'])],
    ['§8.5 CONNECT with a path', 'stream 1 protocol', ask(...request('CONNECT', '/'))],
    ['RFC 8441 §4 :protocol without CONNECT', 'stream 1 protocol', ask([':protocol', 'websocket'], ...GET)],
  ]);
  t.end();
});

t.test('fields', (t) => {
  holdRules(t, [
    ['§8.2.1 a capital letter', 'stream 1 protocol', ask(...field('X-a', 'b'))],
    ['§8.2.1 an empty name', 'stream 1 protocol', ask(...field('', 'b'))],
    ...[' ', ':', '\r', '\n', '\0', '\x7f', '\xe9', '(', '"', '/'].map(
      (char) =>
        [
          `§8.2.1 ${JSON.stringify(char)} in a name`,
          'stream 1 protocol',
          ask(...field(`x${char}y`, 'z')),
        ] as const,
    ),
    ...['\r', '\n', '\0', '\r\n', '\x01', '\x7f'].map(
      (char) =>
        [
          `§8.2.1 ${JSON.stringify(char)} in a value`,
          'answer 1 400',
          ask(...field('x', `y${char}z`)),
        ] as const,
    ),
    ...['\r', '\n', '\r\n', '\r\n\r\n', '\r\nx: y'].map(
      (char) =>
        [
          `§8.2.1 ${JSON.stringify(char)} at the end of a value`,
          'answer 1 400',
          ask(...field('x', `y${char}`), ['z', 'z']),
        ] as const,
    ),
    ['§8.2.1 a space before a value', 'stream 1 protocol', ask(...field('x', ' y'))],
    ['§8.2.1 a tab behind a value', 'stream 1 protocol', ask(...field('x', 'y\t'))],
    ['§8.2.1 a value of one space', 'stream 1 protocol', ask(...field('x', ' '))],
    ['§8.2.1 an empty value', 'answer 1 200', ask(...field('x', ''))],
    [
      '§8.2.1 spaces and letters of any sort within a value',
      'answer 1 200',
      ask(...field('x', 'a \t\xe9\xff b')),
    ],
    ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'].map(
      (name) => [`§8.2.2 ${name}`, 'stream 1 protocol', ask(...field(name, 'chunked'))] as const,
    ),
    ['§8.2.2 TE: trailers', 'answer 1 200', ask(...field('te', 'trailers'))],
    ['§8.2.2 another TE', 'stream 1 protocol', ask(...field('te', 'gzip'))],
    ['§8.2.2 TE: trailers and another', 'stream 1 protocol', ask(...field('te', 'trailers, gzip'))],
    ['§8.2.2 Connection in trailers', 'stream 1 protocol', upload, headers(1, [['connection', 'x']])],
    ['RFC 9110 §10.1.1 an Expect that nobody can meet', 'answer 1 417', ask(...field('expect', 'more'))],
  ]);
  t.end();
});

t.test('line ends in pseudo fields make no lines', (t) => {
  const tail = ' HTTP/1.1\r\nx: y';
  holdRules(t, [
    ['§10.3 a line end before :method', 'stream 1 protocol', instead(':method', '\r\nGET')],
    ['§10.3 a start line in :method', 'stream 1 protocol', instead(':method', `GET /evil${tail}`)],
    [
      '§10.3 a request in :method',
      'stream 1 protocol',
      instead(':method', 'GET /evil HTTP/1.1\r\nhost: b\r\n\r\nGET'),
    ],
    [
      '§10.3 a start line in :method, no :authority',
      'stream 1 protocol',
      ask([':method', 'GET /evil HTTP/1.1\r\nhost: b\r\nx:'], [':scheme', 'http'], [':path', '/']),
    ],
    ['§10.3 a space in :method', 'stream 1 protocol', instead(':method', 'GET /evil')],
    ['§10.3 a start line in :path', 'answer 1 400', instead(':path', `/${tail}`)],
    ['§10.3 a space in :path', 'answer 1 400', instead(':path', '/a b')],
    ['§10.3 another protocol in :path', 'answer 1 400', instead(':path', '/ HTTP/1.0')],
    ['§10.3 # in :path', 'answer 1 400', instead(':path', '/#a')],
    ['§10.3 NUL in :path', 'answer 1 400', instead(':path', '/\0')],
    ['§10.3 a field in :authority', 'answer 1 400', instead(':authority', 'a\r\nx: y')],
    [
      '§10.3 the end of the head in :authority',
      'answer 1 400',
      instead(':authority', 'a\r\n\r\nGET /evil HTTP/1.1\r\nhost: b'),
    ],
    ['§10.3 a field in a cookie', 'answer 1 400', ask(...field('cookie', 'a=b\r\nx: y'))],
    [
      '§10.3 a field in :protocol',
      'answer 1 400',
      headers(1, [[':protocol', 'websocket\r\nx: y'], ...request('CONNECT', '/')], 0),
    ],
    ['§10.3 a field in Content-Length', 'stream 1 protocol', ofLength('0\r\nx: y', END)],
    ['§10.3 a field in trailers', 'stream 1 protocol', upload, headers(1, [['x', 'y\r\nz: z']])],
    ['§10.3 a line feed in trailers', 'stream 1 protocol', upload, headers(1, [['x', 'y\nz: z']])],
  ]);
  t.end();
});

t.test('bodies and trailers', (t) => {
  holdRules(t, [
    ['§8.1.1 Content-Length of more than there is', 'stream 1 protocol', ofLength('3'), data(1, 'ab', END)],
    ['§8.1.1 Content-Length of less than there is', 'stream 1 protocol', ofLength('1'), data(1, 'ab', END)],
    [
      '§8.1.1 Content-Length of less than there is, with more to come',
      'stream 1 protocol',
      ofLength('1'),
      data(1, 'a'),
      data(1, 'b'),
    ],
    ['§8.1.1 Content-Length with END_STREAM on HEADERS', 'stream 1 protocol', ofLength('1', END)],
    [
      '§8.1.1 Content-Length of more than there is before trailers',
      'stream 1 protocol',
      ofLength('3'),
      data(1, 'ab'),
      headers(1, [['x', 'b']]),
    ],
    ['§8.1.1 Content-Length: 0 and nothing', 'ignored', ofLength('0', END)],
    ['§8.1.1 Content-Length: 0 and an empty DATA', 'ignored', ofLength('0'), data(1, '', END)],
    ['§8.1.1 Content-Length: 0 and DATA', 'stream 1 protocol', ofLength('0'), data(1, 'a', END)],
    [
      '§8.1.1 as long as Content-Length says, and an empty DATA',
      'ignored',
      ofLength('2'),
      data(1, 'ab'),
      data(1, '', END),
    ],
    ['RFC 9110 §8.6 Content-Length: -1', 'stream 1 protocol', ofLength('-1')],
    ['RFC 9110 §8.6 Content-Length: +1', 'stream 1 protocol', ofLength('+1')],
    ['RFC 9110 §8.6 Content-Length: 0x1', 'stream 1 protocol', ofLength('0x1')],
    ['RFC 9110 §8.6 Content-Length: 1, 1', 'stream 1 protocol', ofLength('1, 1')],
    ['RFC 9110 §8.6 an empty Content-Length', 'stream 1 protocol', ofLength('')],
    [
      'RFC 9110 §8.6 Content-Length twice',
      'stream 1 protocol',
      headers(1, request('POST', '/hold', ['content-length', '1'], ['content-length', '1']), 0),
    ],
    ['RFC 9110 §8.6 a Content-Length of 30 digits', 'stream 1 protocol', ofLength('1'.repeat(30))],
    [
      'RFC 9110 §8.6 another character in place of a hyphen',
      'answer 1 400',
      ask(...field('content_length', '5')),
    ],
    ['§8.1 trailers without END_STREAM', 'stream 1 protocol', upload, headers(1, [['x', 'b']], 0)],
    ['§8.1 trailers of no fields', 'ignored', upload, headers(1, [])],
    ['§8.2.1 a capital letter in trailers', 'stream 1 protocol', upload, headers(1, [['X', 'y']])],
    ['§8.2.1 NUL in trailers', 'stream 1 protocol', upload, headers(1, [['x', 'y\0']])],
    ['§8.1 DATA behind trailers', 'stream 1 streamClosed', upload, headers(1, [['x', 'b']]), data(1, 'a')],
  ]);
  t.end();
});
