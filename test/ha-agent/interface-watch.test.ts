import t from 'tap';
import { InterfaceWatch } from '../../ha-agent/interface-watch.ts';
import type { IpBatch } from '../../ha-agent/ip-batch.ts';

const FLAGS = { up: ['UP', 'LOWER_UP'], down: [], 'no carrier': ['NO-CARRIER', 'UP'] } as const;

/** Interfaces with their state, and what was told of them. `absent` of a call of `isDispensable`: all that are lacking. */
function scene(links: Record<string, keyof typeof FLAGS>, isDispensable = (_: ReadonlySet<string>) => true) {
  const told: string[] = [];
  const aside: string[] = [];
  const ip = {
    run: async () => ({
      objects: Object.entries(links).map(([ifname, state], i) => ({
        ifname,
        ifindex: i + 1,
        flags: FLAGS[state],
      })),
      errors: [],
      complete: true,
    }),
    refresh() {},
  };
  const watch = new InterfaceWatch(['eth1'], ip as unknown as IpBatch, {
    onInterface: (name, up, why) => void told.push(up ? `${name} up` : why),
    onNew() {},
    onAddress() {},
    isDispensable: (_, absent) => isDispensable(absent),
    onDispensed: (_, why) => void aside.push(why),
    onTrouble: (text) => void told.push(text),
  });
  const news = async (names: readonly string[]) => {
    await watch.watch(names);
    return [told.splice(0), aside.splice(0)];
  };
  return { links, news };
}

t.test('one that comes by reload and is not up is left aside until it has been up once', async (t) => {
  const { links, news } = scene({ eth1: 'up', eth8: 'down' });
  await news(['eth1']);
  const both = ['eth1', 'eth8'];
  t.strictSame(await news(both), [['eth1 up', 'eth8 up'], ['interface eth8 is down']]);
  links.eth8 = 'no carrier';
  t.strictSame(await news(both), [['eth1 up', 'eth8 up'], ['interface eth8 has no carrier']]);
  links.eth8 = 'up';
  t.strictSame(await news(both), [['eth1 up', 'eth8 up'], []]);
  links.eth8 = 'down';
  t.strictSame(await news(both), [['eth1 up', 'interface eth8 is down'], []], 'now its loss counts');
  await news(['eth1']);
  t.strictSame((await news(both))[1], ['interface eth8 is down'], 'it comes by another reload');
});

t.test('one that comes by reload and is all that a group has is missed', async (t) => {
  const { news } = scene({ eth1: 'down', eth8: 'down' }, (lacking) => lacking.size < 2);
  await news(['eth1']);
  t.strictSame(await news(['eth1', 'eth8']), [['interface eth1 is down', 'interface eth8 is down'], []]);
});

t.test('one that is down from the start is missed', async (t) => {
  const { news } = scene({ eth1: 'down' });
  t.strictSame(await news(['eth1']), [['interface eth1 is down'], []]);
});
