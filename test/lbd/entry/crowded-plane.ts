import { parseConfig } from '../../../common/config.ts';
import { DataPlane } from '../../../lbd/plane/data-plane.ts';
import { createSharedBuffers, GATE_OPEN, SharedState } from '../../../lbd/shared/shared.ts';
import { sessionTable } from '../worker-context.ts';

/**
 * A data plane in a process of its own, so that a test can lower its limit of open files. Arguments: port, mode,
 * port of the backend. Prints `ready`, then each log line.
 */
const [port, mode, backend] = process.argv.slice(2);
const config = parseConfig(
  `
frontends: { f: { bind: ["127.0.0.1:${port}"], mode: ${mode}, pool: p } }
pools: { p: { backends: { s1: { address: "127.0.0.1:${backend}" } } } }
`,
  '/test.yaml',
  { cpus: 1 },
);
const shared = new SharedState(createSharedBuffers(1), 0);
shared.setGate(0, GATE_OPEN, 1);
const sessions = sessionTable();
const plane = new DataPlane(0, shared, sessions, 'test-', (level, text) => console.log(`${level}: ${text}`));
const errors = await plane.apply({ config, slots: { 'p/s1': 0 }, frontendRows: { f: 0 } });
console.log(errors.join('; ') || 'ready');
