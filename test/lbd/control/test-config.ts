import { parseConfig } from '../../../common/config.ts';
import type { Config } from '../../../common/model.ts';

/**
 * A config through the real parser: each pool has a frontend, sticks by source address, drains for 30 s and is
 * not checked.
 *
 * @param pools weight by backend by pool; default one of each
 * @param ports of the frontends, one for each pool; default 8081 and up
 * @param more top-level YAML lines
 */
export function testConfig(
  options: {
    readonly pools?: Record<string, Record<string, number>>;
    readonly ports?: readonly number[];
    readonly more?: string;
  } = {},
): Config {
  const pools = options.pools ?? { web: { s1: 1 } };
  const lines = ['frontends:'];
  for (const [i, name] of Object.keys(pools).entries())
    lines.push(
      `  ${name}: { bind: ["127.0.0.1:${options.ports?.[i] ?? 8081 + i}"], mode: http, pool: ${name} }`,
    );
  lines.push('pools:');
  for (const [name, backends] of Object.entries(pools)) {
    lines.push(
      `  ${name}:`,
      '    stick: { source: ip, expire: 30m }',
      '    health: { type: none }',
      '    drain_timeout: 30s',
      '    backends:',
    );
    for (const [i, [backend, weight]] of Object.entries(backends).entries())
      lines.push(`      ${backend}: { address: "127.0.0.1:${9001 + i}", weight: ${weight} }`);
  }
  const text = [...lines, options.more ?? ''].join('\n');
  return parseConfig(text, '/etc/tandem/tandem.yaml', { cpus: 2, hostname: 'lb1' });
}
