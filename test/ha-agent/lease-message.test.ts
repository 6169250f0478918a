import t from 'tap';
import {
  clusterOfQuestion,
  decodeAnswer,
  decodeQuestion,
  encodeAnswer,
  encodeQuestion,
  LEASE_MESSAGE_BYTES,
  type LeaseAnswer,
  type LeaseQuestion,
} from '../../ha-agent/lease-message.ts';

const IDENTITY = { cluster: 'c1c1c1c1c1c1c1c1', key: Buffer.alloc(32, 1) };
const QUESTION: LeaseQuestion = {
  operation: 'take',
  node: '0102030405060708',
  group: '1112131415161718',
  process: '2122232425262728',
  token: '3132333435363738',
  counter: 2 ** 48 - 1,
  timeMs: 250,
  epoch: 2 ** 32 - 1,
  silenceMs: 77,
};
const { operation: _operation, ...FIELDS } = QUESTION;
const ANSWER: LeaseAnswer = { ...FIELDS, verdict: 'denied', silenceMs: 4321 };

t.test('questions and answers come through as they were, and are equally long', (t) => {
  for (const operation of ['take', 'release', 'look'] as const) {
    const question = { ...QUESTION, operation };
    const data = encodeQuestion(IDENTITY, question);
    t.equal(data.length, LEASE_MESSAGE_BYTES);
    t.strictSame(decodeQuestion(IDENTITY, data), question);
    t.equal(clusterOfQuestion(data), IDENTITY.cluster);
  }
  for (const verdict of [
    'granted',
    'denied',
    'vacant',
    'prove',
    'starting',
    'too-long',
    'unheard',
  ] as const) {
    const answer = { ...ANSWER, verdict };
    const data = encodeAnswer(IDENTITY, answer);
    t.equal(data.length, LEASE_MESSAGE_BYTES, 'nobody is flooded by answers');
    t.strictSame(decodeAnswer(IDENTITY, data), answer);
    t.equal(clusterOfQuestion(data), undefined, 'an answer is no question');
  }
  t.end();
});

t.test('one bit flipped anywhere, or another length, is nothing', (t) => {
  const data = encodeQuestion(IDENTITY, QUESTION);
  for (let bit = 0; bit < data.length * 8; bit++) {
    const flipped = Buffer.from(data);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    if (decodeQuestion(IDENTITY, flipped) !== undefined) t.fail(`bit ${bit}`);
  }
  for (const length of [0, 5, LEASE_MESSAGE_BYTES - 1])
    t.equal(decodeQuestion(IDENTITY, data.subarray(0, length)), undefined);
  t.equal(decodeQuestion(IDENTITY, Buffer.concat([data, Buffer.alloc(1)])), undefined);
  t.end();
});

t.test('another key, another cluster, or a question taken for an answer', (t) => {
  const data = encodeQuestion(IDENTITY, QUESTION);
  t.equal(decodeQuestion({ ...IDENTITY, key: Buffer.alloc(32, 2) }, data), undefined);
  t.equal(decodeQuestion({ ...IDENTITY, cluster: '0000000000000000' }, data), undefined);
  t.equal(decodeAnswer(IDENTITY, data), undefined);
  t.equal(decodeQuestion(IDENTITY, encodeAnswer(IDENTITY, ANSWER)), undefined);
  t.equal(decodeQuestion(IDENTITY, encodeQuestion(IDENTITY, { ...QUESTION, counter: 0 })), undefined);
  t.equal(decodeQuestion(IDENTITY, encodeQuestion(IDENTITY, { ...QUESTION, timeMs: 0 })), undefined);
  t.end();
});

t.test('times beyond the field are cut to it', (t) => {
  const data = encodeAnswer(IDENTITY, { ...ANSWER, silenceMs: 2 ** 40, timeMs: -3.5 });
  t.match(decodeAnswer(IDENTITY, data), { silenceMs: 2 ** 32 - 1, timeMs: 0 });
  t.end();
});
