import { connect, createServer } from 'node:net';
import { pipeline } from 'node:stream';

/** A byte relay on Node's own `net`, to be compared. `node node-net-relay.ts NAME ORIGIN_PORT CERTIFICATE tcp=PORT` */
const [, originPort, , listener] = process.argv.slice(2);
const server = createServer({ noDelay: true }, (client) => {
  const backend = connect({ host: '127.0.0.1', port: Number(originPort), noDelay: true });
  pipeline(client, backend, client, () => {
    client.destroy();
    backend.destroy();
  });
});
server.listen(Number(listener!.split('=')[1]), '127.0.0.1', 4096);
process.on('SIGTERM', () => process.exit());
