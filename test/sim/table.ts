import type { Fault, Scene } from './fault.ts';
import { Stage } from './stage.ts';

const WHO = { stays: 'who served', other: 'the other one', any: 'either' };

/** What each fault may cost, as the README shows it: at the default times, in a network in which nothing takes longer than 1 ms. */
export function tableOf(faults: readonly Fault[]): string {
  const { pair } = new Stage(1);
  const [active, standby] = pair.nodes;
  const scene: Scene = {
    ...{ pair, active, standby, random: pair.random },
    ...{ intervalMs: 100, deadMs: 300, tripMs: 1, lastsMs: 0 },
  };
  pair.network.former.clear();
  const cost = (limit: (scene: Scene) => number) => {
    const ms = Math.round(limit(scene));
    const grows = limit({ ...scene, lastsMs: 1_000 }) !== limit(scene);
    return grows ? `its time + ${ms}` : String(ms);
  };
  const rows = faults.map(
    ({ name, nobodyMs, twoMs, who }) => `| ${name} | ${cost(nobodyMs)} | ${cost(twoMs)} | ${WHO[who]} |`,
  );
  return [
    '| what goes wrong | nobody | two | serves afterwards |',
    '| --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}
