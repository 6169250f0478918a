import { parseConfig } from '../../common/config.ts';
import { ConfigError } from '../../common/errors.ts';

/** A file that is complete and right; tests append to it or replace parts. */
export const PAIR = `
cluster: { name: shop, nodes: { lb1: { address: 192.0.2.1 }, lb2: { address: 192.0.2.2 } } }
ha: { vips: [{ address: 192.0.2.100/24, interface: eth1 }] }
frontends: { web: { bind: ["*:80"], pool: web } }
pools: { web: { backends: { s1: { address: "10.0.0.1:80" } } } }
`.trimStart();

/** The problems of a config text as `line:column message`; empty where it is good. */
export function problemsIn(text: string): string[] {
  try {
    parseConfig(text, '/f', { node: 'lb1', cpus: 2 });
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((p) => `${p.where.replace(/^\/f:?/, '')} ${p.message}`);
  }
}
