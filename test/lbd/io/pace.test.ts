import t from 'tap';
import { Pace } from '../../../lbd/io/pace.ts';

t.test('each span of the patience has to bring its bytes', async (t) => {
  const pace = new Pace();
  pace.begin(10_000, 500);
  t.equal(pace.run(1_000), 10_000);
  pace.moved(4_999, 6_000);
  t.equal(pace.run(6_000), 5_000, 'less than the rate: the span goes on');
  pace.moved(1, 7_000);
  t.equal(pace.run(7_000), 10_000, 'the span is paid, the next one begins');
  t.equal(pace.run(17_000), 0);
  t.equal(pace.run(30_000), 0, 'never below');
});

t.test('a quick beginning buys no time', async (t) => {
  const pace = new Pace();
  pace.begin(10_000, 500);
  pace.run(0);
  pace.moved(1e9, 100);
  t.equal(pace.run(100), 10_000);
  t.equal(pace.run(10_100), 0);
});

t.test('only its own turns count', async (t) => {
  const pace = new Pace();
  pace.begin(10_000, 500);
  pace.run(0);
  pace.rest(4_000);
  pace.rest(100_000);
  t.equal(pace.run(200_000), 6_000);
  pace.rest(201_000);
  pace.moved(5_000, 250_000);
  t.equal(pace.run(300_000), 10_000, 'what moved meanwhile counts');
});

t.test('another body begins afresh', async (t) => {
  const pace = new Pace();
  pace.begin(10_000, 500);
  pace.run(0);
  pace.begin(2_000, 500);
  t.equal(pace.run(9_000), 2_000);
  pace.moved(1_000, 9_500);
  t.equal(pace.run(9_500), 2_000);
});

t.test('rate 0 is no limit', async (t) => {
  const pace = new Pace();
  pace.begin(10_000, 0);
  t.equal(pace.run(0), Number.POSITIVE_INFINITY);
  pace.moved(1, 1e6);
  t.equal(pace.run(1e9), Number.POSITIVE_INFINITY);
});
