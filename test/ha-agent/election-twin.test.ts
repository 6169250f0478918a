import { BEGIN, heard, type Story, tell } from './story.ts';

/** The other machine with this node's name is heard each 100 ms; `less` or `more`, as it goes after or before this one. */
const twin = (first: number, last: number, words: string) =>
  Array.from(
    { length: Math.floor((last - first) / 100) + 1 },
    (_, i) => `${first + i * 100} twin ${words}`,
  ).join('\n');
const FAULT = 'fault (epoch 0): another machine claims the name of this node';

const STORIES: readonly Story[] = [
  {
    name: 'of two machines with one name that start together the greater one takes the role',
    script: `${BEGIN}
      ${twin(150, 2000, 'init less')}
      2010 end`,
    happens: ['300 add-vips'],
    never: [/fault/, /remove-vips/],
  },
  {
    name: 'and the other one does not, whether or not that one serves yet',
    script: `${BEGIN}
      ${twin(150, 250, 'init more')}
      ${twin(350, 2000, 'active more')}
      2010 end`,
    happens: [`150 ${FAULT}`],
    never: [/add-vips/],
  },
  {
    name: 'the one that serves goes on, whatever its number',
    script: `${BEGIN}
      ${twin(1000, 3000, 'standby more')}
      3010 end`,
    happens: ['300 add-vips'],
    never: [/fault/, /remove-vips/],
  },
  {
    name: 'where both serve the lesser one drops the VIPs',
    script: `${BEGIN}
      1000 twin active more
      1010 end`,
    happens: [
      '300 add-vips',
      '1000 fault (epoch 1): another machine claims the name of this node',
      '1000 remove-vips',
    ],
  },
  {
    name: 'a machine with the same name that cannot serve holds nobody off',
    script: `${BEGIN}
      ${twin(150, 2000, 'fault more')}
      2010 end`,
    happens: ['300 add-vips'],
    never: [/fault \(epoch/],
  },
  {
    name: 'once it is gone this node is elected as always',
    script: `${BEGIN}
      ${twin(150, 2000, 'active more')}
      9000 end`,
    happens: [`150 ${FAULT}`, '2950 init (epoch 0): the fault is gone', '3000 add-vips'],
  },
  {
    name: 'a process in fault that has the name of the active peer is none of that one while it may serve',
    script: `${BEGIN}
      10 hears active e1
      110 hears active e1
      150 hears fault e0 reboot
      210 hears active e1 reboot
      250 hears fault e0 reboot
      250 why
      310 hears active e1 reboot
      350 hears fault e0 reboot
      410 end`,
    happens: [
      '250 lb2 restarted its agent, or two machines have its name: waiting for the silence of the one that served',
    ],
    never: [/add-vips/],
  },
  {
    name: 'nor is one that waits to be elected',
    script: `${BEGIN}
      10 hears active e1
      50 hears standby e0 reboot
      110 hears active e1 reboot
      150 hears standby e0 reboot
      210 end`,
    happens: [],
    never: [/add-vips/],
  },
  {
    name: 'once the one that served is silent, what the other one says counts',
    script: `${BEGIN}
      10 hears active e1
      110 hears active e1
      ${heard(150, 550, 'fault e0').replace('fault e0', 'fault e0 reboot')}
      600 end`,
    happens: ['410 active (epoch 2): lb2 is in fault', '410 add-vips'],
  },
  {
    name: 'an agent that said farewell before it started anew is not waited for',
    script: `${BEGIN}
      10 hears active e1
      50 hears standby e1 p0
      60 end`,
    happens: ['50 add-vips'],
  },
];

tell(STORIES);
