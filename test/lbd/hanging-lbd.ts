import { syncBuiltinESMExports } from 'node:module';
import workerThreads, { isMainThread, Worker, type WorkerOptions } from 'node:worker_threads';
import { Router } from '../../lbd/route/router.ts';

/** An `lbd` whose workers never come back from a request for `/hang`. */
if (isMainThread) {
  workerThreads.Worker = class extends Worker {
    constructor(entry: string | URL, options: WorkerOptions = {}) {
      super(entry, { ...options, execArgv: [...process.execArgv, '--import', import.meta.url] });
    }
  };
  syncBuiltinESMExports();
  await import('../../lbd/main.ts');
} else {
  const { route } = Router.prototype;
  Router.prototype.route = function (facts) {
    while (facts.path === '/hang');
    return route.call(this, facts);
  };
}
