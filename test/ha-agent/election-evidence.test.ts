import { ACTIVE, BEGIN, CONFIG, heard, type Story, tell } from './story.ts';

/** Datagrams of the peer that cannot be authenticated. */
const presences = (first: number, last: number) =>
  Array.from(
    { length: Math.floor((last - first) / 100) + 1 },
    (_, i) => `${first + i * 100} presence wrong signature`,
  ).join('\n');
/** This node has the numerically higher address. */
const HIGHER = { self: { ...CONFIG.self, address: '10.0.0.3' } };
const SETTLE = { settleMs: 30_000 };

const STORIES: readonly Story[] = [
  {
    name: 'only heartbeats are filtered: takeover without delay, and back once every lifetime would be over and one answers',
    script: `${BEGIN}
      10 hears active e4
      20 answers 02:00:00:00:00:02
      3809 end
      3811 end
      60000 why
      60001 answers
      62000 end`,
    happens: [
      '310 active (epoch 5): lb2 is dead: silent for 300 ms',
      '> 3809 end',
      '3810 standby (epoch 5): 02:00:00:00:00:02 answers for 10.0.0.100: lb2 lives and serves, though it is not heard',
      '3810 remove-vips',
      '60000 lb2 is silent, but 02:00:00:00:00:02 answers for 10.0.0.100',
      '> 60001 answers',
      '61360 active (epoch 6): lb2 is dead: silent for 61350 ms',
    ],
    never: [/38\d\d announce/, /> 3811[\s\S]*probe\n[\s\S]*> 60000/],
  },
  {
    name: 'a neighbour that answers for the whole network (proxy ARP) is not the peer: who took over stays',
    script: `${BEGIN}
      10 hears active e4
      20 answers 02:00:00:00:00:09 proxy
      60000 end`,
    happens: ['310 add-vips', '3810 announce'],
    never: [/remove-vips/],
  },
  {
    name: 'proxy ARP where a node starts alone: it takes over as where nobody answers, and remembers it',
    script: `0 answers 02:00:00:00:00:09 proxy${BEGIN}
      1000 answers 02:00:00:00:00:09
      9000 end`,
    happens: ['300 active (epoch 1): lb2 was never heard', '300 add-vips'],
    never: [/remove-vips/],
  },
  {
    name: 'a slow router: its answer for a VIP holds a takeover off only until it is found to answer for everybody',
    script: `${BEGIN}
      200 answers 02:00:00:00:00:09
      500 answers
      700 answers 02:00:00:00:00:09 proxy
      3000 answers 02:00:00:00:00:09
      20000 end`,
    happens: ['800 active (epoch 1): lb2 was never heard'],
    never: [/remove-vips/],
  },
  {
    name: 'the peer that serves answers beside a proxy: yielded to',
    script: `${BEGIN}
      10 hears active e4
      20 answers 02:00:00:00:00:09 proxy
      3000 answers 02:00:00:00:00:02
      9000 end`,
    happens: ['310 add-vips', '3810 remove-vips'],
  },
  {
    name: 'who answers for the VIPs for a minute beside a silent peer is said as an error, once, with the way out',
    script: `0 answers 02:00:00:00:00:02${BEGIN}
      60200 end
      200000 end`,
    happens: [
      '> 60200 end',
      '60300 error: still not taking over after 60 s: lb2 is silent, but 02:00:00:00:00:02 answers for 10.0.0.100; if that is not lb2, end its answers for the VIPs (proxy ARP, an address that is taken), and this node takes over',
    ],
    never: [/add-vips/, /error[\s\S]*error/],
  },
  {
    name: 'the host of the active peer refuses, and its VIPs are still answered for: its silence decides',
    script: `${BEGIN}
      10 hears active e4 d1000
      20 answers 02:00:00:00:00:02
      60 suspect refused
      65 suspect refused
      1005 end
      1010 end`,
    happens: ['> 1005 end', '1010 active (epoch 5): lb2 is dead: refused'],
  },
  {
    name: 'agent and guardian of the active peer are dead, its interval is long: the lifetime of its VIPs ends, then takeover',
    script: `${BEGIN}
      10 hears active e4 d60000
      20 answers 02:00:00:00:00:02
      60 suspect refused
      65 suspect refused
      3000 why
      3001 answers
      6000 end`,
    happens: [
      '3000 lb2 refuses heartbeats, but 02:00:00:00:00:02 answers for 10.0.0.100; waiting for its silence',
      '> 3001 answers',
      '4380 active (epoch 5): lb2 is dead: refused',
    ],
  },
  {
    name: 'whoever answers for the VIPs beside the lease of a witness is not the peer: this node stays',
    script: `${BEGIN}
      10 hears active e4
      20 answers 02:00:00:00:00:02
      300 lease held 60000
      9000 end`,
    config: { leaseMs: 2_000 },
    happens: ['310 add-vips'],
    never: [/remove-vips/],
  },
  {
    name: 'the other one of two that took over blindly never looks at the same moment, so that not both yield',
    script: `${BEGIN}
      10 hears active e4
      20 answers 02:00:00:00:00:01
      4309 end
      4311 end`,
    config: HIGHER,
    happens: ['> 4309 end', '4310 remove-vips'],
  },
  {
    name: 'only heartbeats are filtered, and an answer is lost: it looks again',
    script: `${BEGIN}
      10 hears active e4
      4000 answers 02:00:00:00:00:02
      4809 end
      4811 end`,
    happens: ['3810 announce', '> 4809 end', '4810 remove-vips'],
  },
  {
    name: 'a stopped machine answers until the lifetime of its VIPs ends: the role stays with the node that took over',
    script: `${BEGIN}
      10 hears active e4
      20 answers 02:00:00:00:00:02
      3300 answers
      9000 end`,
    happens: ['310 add-vips', '3810 announce'],
    never: [/remove-vips/],
  },
  {
    name: 'a rival that answers later is not yielded to: this node served first',
    script: `${BEGIN}
      10 hears active e4
      7900 answers 02:00:00:00:00:02
      20000 end`,
    happens: ['310 add-vips'],
    never: [/remove-vips/],
  },
  {
    name: 'at the start somebody answers for the VIPs: not taken over, and taken over once nobody does',
    script: `0 answers 02:00:00:00:00:02${BEGIN}
      5000 why
      5001 answers
      7000 end`,
    happens: [
      '5000 lb2 is silent, but 02:00:00:00:00:02 answers for 10.0.0.100',
      '> 5001 answers',
      '6550 active (epoch 1): lb2 was never heard',
    ],
    never: [/add-vips[\s\S]*> 5001/],
  },
  {
    name: 'at the start the answer is waited for, for a moment; it may be that somebody serves',
    script: `0 answers later${BEGIN}
      310 why
      340 answered 02:00:00:00:00:02
      341 why
      900 end`,
    happens: [
      '310 lb2 is silent; asking who answers for the VIPs',
      '341 lb2 is silent, but 02:00:00:00:00:02 answers for 10.0.0.100',
    ],
    never: [/add-vips/],
  },
  {
    name: 'a node that is paused again and again asks who answers for the VIPs before it takes over, as any other does',
    script: `${BEGIN}
      20 answers 02:00:00:00:00:02
      ${heard(50, 950, 'active e4')}
      1000 pause 600
      ${heard(1650, 2950, 'active e4')}
      3000 pause 600
      3800 pause 600
      4600 pause 600
      5400 pause 600
      6200 pause 600
      9000 why
      9001 answers
      12000 end`,
    happens: [
      '9000 lb2 is silent, but 02:00:00:00:00:02 answers for 10.0.0.100',
      '> 9001 answers',
      '> 12000 end',
    ],
    never: [/add-vips[\s\S]*> 9001/],
  },
  {
    name: 'who answered once does not count for ever where no answer comes any more',
    script: `0 answers 02:00:00:00:00:02${BEGIN}
      1000 answers later
      2499 end
      2600 end`,
    happens: [
      '300 standby (epoch 0): lb2 is silent, but 02:00:00:00:00:02 answers for 10.0.0.100',
      '2550 add-vips',
    ],
    never: [/add-vips[\s\S]*> 2499/],
  },
  {
    name: 'at the start there is no answer at all: not waited for without end',
    script: `0 answers later${BEGIN}
      349 end
      360 end`,
    happens: ['> 349 end', '350 active (epoch 1): lb2 was never heard'],
  },
  {
    name: 'nobody can be asked who answers for the VIPs: as without the question',
    script: `0 answers unknown${BEGIN}
      10 hears active e4
      5000 end`,
    happens: ['310 active (epoch 5): lb2 is dead: silent for 300 ms', '3810 announce'],
    never: [/remove-vips/],
  },
  {
    name: 'heard and not understood, and somebody answers for the VIPs: that is not dead',
    script: `${BEGIN}
      10 hears active e4
      20 answers 02:00:00:00:00:02
      ${presences(110, 20_010)}
      20050 why
      20400 end`,
    happens: [
      '20050 lb2 is heard, but not understood: wrong signature; 02:00:00:00:00:02 answers for 10.0.0.100',
    ],
    never: [/add-vips/, /probe/],
  },
  {
    name: 'heard and not understood once: it counts for a second, however short the dead time is',
    script: `${BEGIN}
      10 hears active e4
      30 presence wrong signature
      1000 end
      1100 end`,
    config: { intervalMs: 20, deadAfter: 2 },
    happens: ['> 1000 end', '1050 add-vips'],
  },
  {
    name: 'heard and not understood, and nobody answers for the VIPs: the lower address waits for twice as long',
    script: `${BEGIN}
      ${presences(10, 9_010)}`,
    happens: ['> 7210 presence wrong signature', '7300 says standby p150 probe', '7350 add-vips'],
  },
  {
    name: 'heard and not understood, and nobody answers for the VIPs: the higher address is the first to go on',
    script: `${BEGIN}
      ${presences(10, 9_010)}`,
    config: HIGHER,
    happens: ['> 3710 presence wrong signature', '3800 says standby p150 probe', '3850 add-vips'],
  },
  {
    name: 'heard and not understood, and nobody can be asked who answers: ten times as long',
    script: `0 answers unknown${BEGIN}
      ${presences(10, 36_010)}`,
    config: HIGHER,
    happens: ['> 35210 presence wrong signature', '35350 add-vips'],
  },
  {
    name: 'what cannot be understood does not matter while the peer is heard, nor to an active node',
    script: `${ACTIVE}
      ${heard(100, 900, 'standby')}
      910 presence wrong signature
      950 hears standby
      1000 presence wrong signature
      1500 presence wrong signature
      1550 why`,
    happens: ['10 add-vips', '1550 nobody is active and lb1 goes before lb2'],
    never: [/remove-vips/],
  },
  {
    name: 'recorded hellos of a dead peer do not keep the VIPs without an owner for ever',
    script: `${BEGIN}
      ${Array.from({ length: 100 }, (_, i) => `${10 + i * 100} hello active`).join('\n')}`,
    happens: ['300 standby (epoch 0): lb2 is heard, but does not hear this node', '7350 add-vips'],
  },
  {
    name: 'settle: alone at the start, and nothing shows that the network works: the peer is not threatened meanwhile',
    script: `${BEGIN}
      29000 why
      29999 end
      30100 end`,
    config: SETTLE,
    happens: [
      '29000 this node has just started, and nothing shows yet that the network carries frames; waiting 30 s at most',
      '> 29999 end',
      '30050 active (epoch 1): lb2 was never heard',
    ],
    never: [/probe[\s\S]*> 29999/],
  },
  {
    name: 'settle: something of the peer arrives, even if it is not understood, so the network works',
    script: `${BEGIN}
      5000 presence wrong signature
      20000 end`,
    config: SETTLE,
    happens: ['> 5000 presence wrong signature', '6050 active (epoch 1): lb2 was never heard'],
  },
  {
    name: 'settle: the machine of the peer answers, so the network works and the node that is alone serves at once',
    script: `0 answers neighbour${BEGIN}
      300 end`,
    config: SETTLE,
    happens: ['300 active (epoch 1): lb2 was never heard'],
  },
  {
    name: 'settle: a witness answers, so the network works',
    script: `${BEGIN}
      5000 witness yes
      5100 end`,
    config: SETTLE,
    happens: ['> 5000 witness yes', '5050 active (epoch 1): lb2 was never heard'],
  },
  {
    name: 'settle: the peer is heard, so there is nothing to wait for',
    script: `${BEGIN}
      10 hears standby`,
    config: SETTLE,
    happens: ['10 active (epoch 1): nobody is active and lb1 goes before lb2'],
  },
  {
    name: 'settle: the cable comes back before the switch forwards: no leadership of nobody, the one who served stays',
    script: `${ACTIVE}
      1000 link eth1 down
      1010 hears standby e1
      2000 link eth1 up
      6000 why
      7000 hears active e2 s5700
      7010 why`,
    config: SETTLE,
    happens: [
      '1000 remove-vips',
      '6000 interface eth1 has come up, and nothing shows yet that the network carries frames; waiting 30 s at most',
      '7010 lb2 is active',
    ],
    never: [/add-vips[\s\S]*add-vips/],
  },
  {
    name: 'both active in one epoch: the one that shows that it served stays, whatever the priorities',
    script: `${ACTIVE}
      1000 link eth1 down
      1010 hears standby e1
      2000 link eth1 up
      7000 hears active e2 s5700`,
    happens: [
      '> 2000 link eth1 up',
      '2300 active (epoch 2): lb2 is dead: silent for 1290 ms',
      '7000 standby (epoch 2): lb2 is active too and stays: epoch 2 here, 2 there; served 0 s here, 6 s there; priority 150 here, 100 there',
      '7000 remove-vips',
    ],
  },
  {
    name: 'how long it served is counted from the first sign that the network carries frames',
    script: `${BEGIN}
      2300 served
      2400 answered neighbour
      3400 served`,
    happens: ['2300 served 0 ms', '3400 served 1000 ms'],
  },
  {
    name: 'a word of the peer is older than now: what it did not say yet does not count for this node',
    script: `${BEGIN}
      10 hears standby e1 p0
      2010 hears active e2 p200 s900`,
    happens: ['10 add-vips', '2010 remove-vips'],
  },
  {
    name: 'both active in one epoch: the node that served keeps the role against a priority',
    script: `${BEGIN}
      10 hears standby e1 p200
      20 hears init e1 p0
      ${heard(120, 2020, 'standby e1 p0')}
      2400 hears active e2 p200
      2500 hears standby e2 p200`,
    happens: ['20 add-vips', '> 2400 hears active e2 p200', '2400 sends 1'],
    never: [/remove-vips/],
  },
  {
    name: 'both active in one epoch, and the peer is of a release that does not say how long it served: by priority',
    script: `${BEGIN}
      10 hears standby e1 p200
      20 hears init e1 p0
      ${heard(120, 2020, 'standby e1 p0')}
      2400 hears active e2 p200 old`,
    happens: ['20 add-vips', '> 2400 hears active e2 p200 old', '2400 remove-vips'],
  },
  {
    name: 'while the peer is not heard, the neighbours are told more often on which machine the VIPs are',
    script: `${ACTIVE}
      ${heard(100, 900, 'standby')}
      12000 end`,
    config: { announceRefreshMs: 60_000 },
    happens: ['10 announce', '6200 announce', '11200 announce'],
  },
];

tell(STORIES);
