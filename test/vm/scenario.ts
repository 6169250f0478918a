import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { messageOf } from '../../common/errors.ts';
import { VERSION } from '../../common/version.ts';
import { broken, milliseconds, timelineText } from '../../scripts/lab/demo-text.ts';
import { FAULTS, type FaultName } from '../../scripts/lab/faults.ts';
import { NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import type { FaultResult } from '../../scripts/lab/scenario.ts';
import { STICKY_KINDS } from '../../scripts/lab/sticky.ts';
import type { TrafficReport } from '../../scripts/lab/traffic.ts';
import { CLIENTS, VmPair } from '../../scripts/vm/pair.ts';
import { SIGHT_COMMAND, tooExposed } from '../../scripts/vm/sandbox.ts';
import { UNITS, USERS_COMMAND, wrongUsers } from '../../scripts/vm/users.ts';

/** What test/vm/run does with the machines once they are up. */
const TREE = join(import.meta.dirname, '../..');
const REPORT = join(TREE, 'vagrant/report.md');
/** What stands in the report from there on was written by people, and stays. */
const EARLIER = '\n## Earlier runs\n';
const LINGER_MS = 2000;
/** So many runs of what has a limit, one of the others. */
const RUNS: readonly (readonly [fault: FaultName, runs: number])[] = [
  ['cut', 5],
  ['power', 5],
  ['agent-kill', 1],
  ['agent-stop', 1],
  ['lb-kill', 1],
  ['switchover', 1],
];

interface Row {
  readonly what: string;
  readonly blackoutsMs: readonly number[];
  readonly failures: number;
  readonly requests: number;
  readonly sticky: string;
  readonly keptAlive: string;
}

const rows: Row[] = [];
/** What happened in each run, in order. */
const steps: string[] = [];
const problems: string[] = [];
let facts: readonly string[] = [];
let finished = false;

async function main(): Promise<void> {
  const pair = await VmPair.connect();
  try {
    await pair.whole();
    say(`the pair is whole, ${pair.active()} is active`);
    facts = [...(await machineFacts(pair)), clockFact(pair)];
    await checkUsers(pair);
    for (const [fault, runs] of RUNS) await runFault(pair, fault, runs);
    await underTraffic(pair, 'reboot of the active node', () => pair.reboot(pair.active()));
    await underTraffic(pair, 'reboot of the standby', () => pair.reboot(standby(pair)));
    await upgrade(pair);
    await checkUsers(pair);
  } catch (error) {
    problems.push(`the scenario ended early: ${messageOf(error)}`);
    for (const name of NODES) say(`what ${name} logged last:\n${await lastLines(pair, name)}`);
  } finally {
    finished = true;
    report();
    pair.close();
  }
  for (const problem of problems) say(`NOT AS IT MUST BE: ${problem}`);
  if (problems.length > 0) process.exitCode = 1;
}

/** Each daemon is who it must be, and no more than it must; and the agent sees its lbd all the same. */
async function checkUsers(pair: VmPair): Promise<void> {
  for (const name of NODES) {
    const asRoot = (command: string) => pair.nodes[name].run(`sudo sh -c ${quoted(command)}`);
    problems.push(...wrongUsers(await asRoot(USERS_COMMAND)).map((line) => `${name}: ${line}`));
    if ((await asRoot(SIGHT_COMMAND)).trim() !== 'yes')
      problems.push(`${name}: the agent holds no view of the process of lbd`);
  }
}

function quoted(command: string): string {
  return `'${command.replaceAll("'", `'\\''`)}'`;
}

async function runFault(pair: VmPair, fault: FaultName, runs: number): Promise<void> {
  const results: FaultResult[] = [];
  for (let run = 0; run < runs; run++) {
    // Those that have lost their connection do not come back, so each run has clients of its own.
    const clients = await pair.clients();
    try {
      const result = await pair.fail(clients, fault, LINGER_MS);
      const outcome = `${fault} ${run + 1}: blackout ${milliseconds(result.probe.blackoutMs)}`;
      say(outcome);
      steps.push(`${outcome}\n\n${timelineText(result)}`);
      problems.push(...broken(result).map((line) => `${fault}: ${line}`));
      results.push(result);
      await pair.recover(result);
    } finally {
      await clients.stop();
    }
  }
  record(rowOf(FAULTS[fault].title, results));
}

async function underTraffic(pair: VmPair, what: string, act: () => Promise<unknown>): Promise<void> {
  const clients = await pair.clients();
  try {
    await clients.report();
    await act();
    const seen = await clients.report();
    say(`${what}: blackout ${milliseconds(seen.probe.blackoutMs)}`);
    record(rowOf(what, [seen]));
    for (const kind of STICKY_KINDS)
      if (seen.sticky[kind].kept < seen.sticky[kind].total)
        problems.push(`${what}: sticky clients (${kind}) lost their backend`);
  } finally {
    await clients.stop();
  }
}

/** A change that makes another version of the tree on the nodes, then the script that operators use. */
async function upgrade(pair: VmPair): Promise<void> {
  for (const name of NODES) await pair.nodes[name].run('sudo sh -c "echo >> /tandem/CHANGELOG.md"');
  const before = await digests(pair);
  await execa(join(TREE, 'scripts/upgrade-pair'), ['-F', pair.sshConfig, '/tandem', ...NODES], {
    stdout: 'inherit',
  });
  const after = await digests(pair);
  if (after.some((digest, i) => digest === before[i])) problems.push('a node was not upgraded');
  facts = [...facts, 'upgrade of both nodes in place, by `scripts/upgrade-pair`: done'];
}

function lastLines(pair: VmPair, name: NodeName): Promise<string> {
  return pair.nodes[name]
    .run(
      'sudo journalctl --no-pager --output short-precise --lines 60 --unit ha-agent --unit lbd --unit tandem-kernel',
    )
    .catch(messageOf);
}

function digests(pair: VmPair): Promise<string[]> {
  return Promise.all(NODES.map((name) => pair.nodes[name].run('cat /opt/tandem/.digest')));
}

function standby(pair: VmPair): NodeName {
  return NODES.find((name) => name !== pair.active())!;
}

function rowOf(what: string, reports: readonly TrafficReport[]): Row {
  const sum = (count: (report: TrafficReport) => number) =>
    reports.reduce((total, one) => total + count(one), 0);
  const sticky = (part: 'kept' | 'total') =>
    sum((one) => STICKY_KINDS.reduce((total, kind) => total + one.sticky[kind][part], 0));
  return {
    what,
    blackoutsMs: reports.map(({ probe }) => probe.blackoutMs).toSorted((a, b) => a - b),
    failures: sum(({ probe }) => probe.failures),
    requests: sum(({ probe }) => probe.requests),
    sticky: `${sticky('kept')} of ${sticky('total')}`,
    keptAlive: `${sum(({ keptAlive }) => keptAlive.broken)} of ${sum(({ keptAlive }) => keptAlive.total)}`,
  };
}

async function machineFacts(pair: VmPair): Promise<string[]> {
  const kernel = await pair.nodes.lb1.run('. /etc/os-release; echo "$PRETTY_NAME, Linux $(uname -r)"');
  const security = (unit: string) =>
    pair.nodes.lb1.run(`systemd-analyze security ${unit} | tail -n 1 | sed 's/^[^a-zA-Z]*//'`);
  const levels = await Promise.all(UNITS.map(security));
  problems.push(...tooExposed(levels));
  const { stdout: vagrant } = await execa('vagrant', ['--version']);
  const { stdout: qemu } = await execa('qemu-system-x86_64', ['--version']);
  const cpu = /^model name\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  const { stdout: commit } = await execa('git', ['describe', '--always', '--dirty'], { cwd: TREE });
  return [
    `Tandem ${VERSION}, commit ${commit}; machines: ${kernel}, 1 processor and 1 GiB each`,
    `${vagrant}, provider ${pair.vagrant.provider}; ${qemu.split('\n')[0]}, software emulation on ${cpu}`,
    `\`vagrant up\` with provisioning: ${process.env.TANDEM_VM_UP_SECONDS ?? '?'} s`,
    `\`systemd-analyze security\`: ${levels.join('; ')}`,
  ];
}

function clockFact(pair: VmPair): string {
  return `times of different machines compare to within ${milliseconds(pair.clockErrorMs)}`;
}

/** The report is written each time, so that what was measured stays, however the run ends. */
function record(row: Row): void {
  rows.push(row);
  report();
}

function report(): void {
  const table = rows.map(({ what, blackoutsMs, failures, requests, sticky, keptAlive }) => {
    const median = blackoutsMs[Math.floor(blackoutsMs.length / 2)];
    const worst = blackoutsMs.at(-1);
    const cells = [what, blackoutsMs.length, milliseconds(median), milliseconds(worst)];
    return `| ${[...cells, `${failures} of ${requests}`, sticky, keptAlive].join(' | ')} |`;
  });
  const text = `# The pair on virtual machines

Written by \`npm run test:vm\` on ${new Date().toISOString().slice(0, 10)}.

${facts.map((fact) => `- ${fact}`).join('\n')}
- clients: a new connection every ${CLIENTS.intervalMs} ms, ${3 * CLIENTS.sticky} that stick to a backend, ${CLIENTS.keptAlive} that stay connected; heartbeats
  every 100 ms; blackout: from the first of the longest run of failing starts to the next one that succeeded

| what happened | runs | blackout, median | worst | failed starts | sticky clients that kept their backend | open connections broken |
| --- | --- | --- | --- | --- | --- | --- |
${table.join('\n')}

${verdict()}

## Each step

As both nodes and the clients told it, in milliseconds after the fault.

${steps.map((text) => `\`\`\`\n${text}\n\`\`\``).join('\n\n')}
`;
  writeFileSync(REPORT, text + earlierRuns());
}

function earlierRuns(): string {
  const before = existsSync(REPORT) ? readFileSync(REPORT, 'utf8') : '';
  return before.includes(EARLIER) ? before.slice(before.indexOf(EARLIER)) : '';
}

function verdict(): string {
  if (problems.length > 0) return problems.map((line) => `- NOT AS IT MUST BE: ${line}`).join('\n');
  return finished ? 'All of it was as it must be.' : 'The run did not come to its end.';
}

function say(text: string): void {
  console.log(text);
}

try {
  await main();
} catch (error) {
  console.error(`test:vm: ${messageOf(error)}`);
  process.exitCode = 1;
}
