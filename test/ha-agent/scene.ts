import { spawnSync } from 'node:child_process';

const own = process.getuid?.() === 0 ? ['-n'] : ['-U', '-r', '-n'];

/** What this machine lacks for a scene; undefined when it has all. */
export function lackingForScene(programs: readonly string[]): string | undefined {
  for (const program of ['ip', ...programs])
    if (spawnSync('bash', ['-c', 'command -v "$0"', program]).status !== 0) return `no program "${program}"`;
  const link = ['ip', 'link', 'add', 'va', 'type', 'veth', 'peer', 'name', 'vb'];
  if (spawnSync('unshare', [...own, ...link]).status === 0) return undefined;
  return 'no network namespaces with veth (unshare -n, or -Urn as a user)';
}

/** Runs a script in a network namespace of its own. @returns its findings by name */
export function runScene(script: string): {
  status: number | null;
  stderr: string;
  found: Map<string, unknown>;
} {
  const { status, stdout, stderr } = spawnSync('unshare', [...own, process.execPath, script], {
    encoding: 'utf8',
    timeout: 120_000,
    env: { ...process.env, TANDEM_SCENE: 'own namespace' },
  });
  const lines = stdout
    .trim()
    .split('\n')
    .filter((line) => line !== '');
  return { status, stderr, found: new Map(lines.map((line) => JSON.parse(line) as [string, unknown])) };
}
