import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';

const DIRECTORY = new URL('../../ha-agent/', import.meta.url);
/** Whatever tells the time of day, or measures by it. */
const WALL_CLOCK =
  /\bDate\b|timeOrigin|\bhrtime\(\)|Temporal|EPOCHREALTIME|EPOCHSECONDS|\bSECONDS\b|\$\(date|printf.*%\(/;

t.test('no part of the agent knows the time of day: a step of the clock cannot decide anything', (t) => {
  const files = readdirSync(DIRECTORY).filter((name) => /\.(ts|sh)$/.test(name));
  t.ok(files.includes('election.ts') && files.includes('guardian.sh'));
  for (const name of files) {
    const lines = readFileSync(new URL(name, DIRECTORY), 'utf8').split('\n');
    const found = lines.flatMap((line, i) =>
      WALL_CLOCK.test(line) ? [`${name}:${i + 1}: ${line.trim()}`] : [],
    );
    t.same(found, [], name);
  }
  t.end();
});
