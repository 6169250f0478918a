import { parseConfig } from '../../../common/config.ts';
import { Attempts } from '../../../lbd/dispatch/attempts.ts';
import { Pool } from '../../../lbd/dispatch/pool.ts';
import { Frontend } from '../../../lbd/entry/frontend.ts';
import { Asker } from '../../../lbd/http/asker.ts';
import { newHttp1Stream } from '../../../lbd/http/h1/backend-stream.ts';
import type { Message } from '../../../lbd/http/message.ts';
import type { HttpRequest } from '../../../lbd/http/model.ts';
import { HttpService } from '../../../lbd/http/service.ts';
import type { PoolTarget } from '../../../lbd/http/target.ts';
import { sessionTable, workerContext } from '../worker-context.ts';

const config = parseConfig(
  `
frontends: { web: { bind: ["127.0.0.1:80"], pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:1" } } } }
`,
  '/test.yaml',
  { cpus: 1 },
);
const context = workerContext();
const pool = new Pool(config.pools[0]!, [], context.shared, sessionTable(), 0);
const service = new HttpService(
  new Frontend(0, context, config.frontends[0]!, [], pool),
  newHttp1Stream,
  undefined,
);

/**
 * Renders a request as its backend gets it from a frontend without a further word in its config.
 *
 * @param host of the backend
 */
export function renderSent(request: HttpRequest, out: Message, requestId: string, host: string): void {
  const asker = new Asker(service.frontend, { address: '192.0.2.1', scheme: 'http', identity: undefined });
  asker.identify(request, undefined);
  const client = { asker, requestId };
  for (const policy of service.entry.onRequest) policy.onRequest(request, client);
  const { policies } = service.targetFor(request) as PoolTarget;
  const attempts = new Attempts(context.shared, asker);
  for (const policy of policies.onSend) policy.onSend(request, client, attempts);
  request.render(out, host);
}
