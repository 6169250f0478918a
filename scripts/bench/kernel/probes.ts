import { connect } from 'node:net';
import { monotonicMs } from '../../../common/events.ts';
import { CLIENT_ADDRESSES, VIP } from '../../lab/hosts.ts';

/**
 * A connection every 10 ms that stays open, until the end of standard input. For each, a line with its port and the
 * monotonic time in milliseconds at which it was open.
 */
const timer = setInterval(() => {
  const socket = connect({ host: VIP, port: 5000, localAddress: CLIENT_ADDRESSES[0]! });
  socket.on('error', () => {});
  socket.on('connect', () => process.stdout.write(`${socket.localPort} ${monotonicMs()}\n`));
}, 10);

process.stdin.on('end', () => {
  clearInterval(timer);
  // What is on its way to the reader of this pipe gets there first.
  setTimeout(() => process.exit(), 100);
});
process.stdin.resume();
