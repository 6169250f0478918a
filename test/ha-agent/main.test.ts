import { execFile } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { nodeCommand } from '../common/node.ts';
import { tempDir } from '../common/temp-dir.ts';

// Most of the time goes to the start of Node.
t.jobs = 4;

const MAIN = fileURLToPath(new URL('../../ha-agent/main.ts', import.meta.url));
const POOL = `
frontends: { web: { bind: ["*:8080"], mode: http, pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:9000" } } } }
`;
const PAIR = `
cluster:
  name: shop
  secret_file: secret
  nodes: { lb1: { address: 192.0.2.1 }, lb2: { address: 192.0.2.2 } }
ha: { vips: [{ address: 192.0.2.100/24, interface: eth1 }] }
${POOL}`;

interface Refusal {
  readonly name: string;
  readonly config?: string;
  readonly secret?: { readonly bytes: number; readonly mode: number };
  readonly args?: readonly string[];
  readonly code: number;
  readonly says: RegExp;
}

const REFUSALS: readonly Refusal[] = [
  { name: 'no such option', args: ['--nodes', 'lb1'], code: 2, says: /^ha-agent: Unknown option '--nodes'/ },
  {
    name: 'no config file',
    args: ['--config', '/no/such.yaml'],
    code: 1,
    says: /^\/no\/such\.yaml: no such file\n$/,
  },
  {
    name: 'a config without a cluster',
    config: POOL,
    code: 1,
    says: /^ha-agent: .* has no "cluster" and "ha"/,
  },
  {
    name: 'a node that is not in the file',
    config: PAIR,
    args: ['--node', 'lb9'],
    code: 1,
    says: /:\d+:\d+: .*lb9/,
  },
  { name: 'no secret', config: PAIR, code: 1, says: /^ha-agent: the secret .* does not exist/ },
  { name: 'a short secret', config: PAIR, secret: { bytes: 8, mode: 0o600 }, code: 1, says: /has 8 bytes/ },
  {
    name: 'a secret for everybody',
    config: PAIR,
    secret: { bytes: 32, mode: 0o644 },
    code: 1,
    says: /open to every user/,
  },
];

function run(args: readonly string[]): Promise<{ code: number; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(...nodeCommand(MAIN, ...args), { timeout: 120_000 }, (_error, _stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stderr }),
    );
  });
}

for (const { name, config, secret, args = [], code, says } of REFUSALS)
  t.test(`refused in clear words: ${name}`, async (t) => {
    const directory = tempDir(t);
    const file = join(directory, 'tandem.yaml');
    if (config !== undefined) writeFileSync(file, config);
    if (secret !== undefined) {
      writeFileSync(join(directory, 'secret'), Buffer.alloc(secret.bytes, 1));
      chmodSync(join(directory, 'secret'), secret.mode);
    }
    const node = args.includes('--node') ? [] : ['--node', 'lb1'];
    const result = await run(['--config', file, '--run-dir', directory, ...node, ...args]);
    t.equal(result.code, code, result.stderr);
    t.match(result.stderr, says);
    t.notMatch(result.stderr, /\n\s+at /, 'no stack trace');
  });
