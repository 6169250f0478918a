import t from 'tap';
import { initialState, reportOf, step } from '../../ha-agent/election.ts';
import { ACTIVE, BEGIN, CONFIG, heard, type Story, tell } from './story.ts';

/** Both nodes can let open connections finish on the one that was active. */
const SECOND_CHANCE = { secondChance: true };
/** This node is active, the peer is a standby that can forward. */
const ABLE = `${BEGIN}
  10 hears standby forwards`;
/** The peer has taken over and stepped down, and another process of it says hello as the active one. */
const SUCCEEDED = `${ACTIVE}
      50 lbd dead
      55 hears active e2
      60 lbd well
      70 hears init p0 e2
      80 hello active`;

const STORIES: readonly Story[] = [
  {
    name: 'a start whose lbd is not there yet is no error',
    script: `
      0 lbd dead
      0 start
      50 lbd starting
      100 lbd well
      400 end`,
    happens: ['0 fault (epoch 0): lbd is dead: it does not run', '> 100 lbd well'],
    never: [/error:/],
  },
  {
    name: 'an active node whose lbd dies tells it as an error',
    script: `${ACTIVE}
      50 lbd dead`,
    happens: ['50 error: fault (epoch 1): lbd is dead: it does not run'],
  },
  {
    name: 'a standby that stops while it probes does not say that it will take over',
    script: `${BEGIN}
      10 hears active
      262 stop`,
    happens: ['260 says standby p150 probe', '262 says standby p0'],
  },
  {
    name: 'a peer that dies while it probes: the role stays',
    script: `${ACTIVE}
      60 hears standby probe
      61 suspect refused
      67 suspect refused
      290 end`,
    happens: ['> 290 end'],
    never: [/> 60[\s\S]*remove-vips/],
  },
  {
    name: 'switchover with open connections: lbd retires, VIPs parked, finished when none is left',
    script: `${ABLE}
      50 switchover
      52 hears active e2 forwards
      60 lbd has 3
      ${heard(152, 952, 'active e2 forwards')}
      1000 lbd has 0
      1060 end`,
    config: SECOND_CHANCE,
    happens: [
      '50 standby (epoch 1): an operator asked for a switchover',
      '50 lbd: retiring',
      '50 says active p0 finishing',
      '50 park-vips',
      '50 says standby p0 finishing',
      '52 lbd: finishing',
      '> 1000 lbd has 0',
      '1050 unpark-vips',
    ],
    never: [/remove-vips/],
  },
  {
    name: 'connections that do not end: cut after the drain time, then the parked VIPs go',
    script: `${ABLE}
      50 switchover
      52 hears active e2 forwards
      60 lbd has 3
      ${heard(152, 1152, 'active e2 forwards')}
      1400 end`,
    config: { ...SECOND_CHANCE, drainMs: 1100 },
    happens: ['1150 lbd: over', '1400 unpark-vips', '1400 says standby p150'],
  },
  {
    name: 'lbd does not retire in time: the VIPs leave all the same',
    script: `0 manual${ABLE}
      20 promoted
      21 vips-added ok
      50 switchover
      199 end
      200 end
      201 vips-removed ok`,
    config: SECOND_CHANCE,
    happens: ['50 lbd: retiring', '> 199 end', '200 park-vips', '201 says standby p0 finishing'],
  },
  {
    name: 'a peer that cannot forward: plain removal',
    script: `${ACTIVE}
      50 switchover`,
    config: SECOND_CHANCE,
    happens: ['50 remove-vips', '50 says standby p0'],
    never: [/park-vips/, /finishing/],
  },
  {
    name: 'the host could not park: nothing to finish',
    script: `0 manual${ABLE}
      20 promoted
      21 vips-added ok
      50 switchover
      60 retired
      61 vips-removed not`,
    config: SECOND_CHANCE,
    happens: ['60 park-vips', '61 unpark-vips', '61 says standby p0'],
  },
  {
    name: 'unplanned: connections have no second chance',
    script: `${ABLE}
      50 lbd dead`,
    config: SECOND_CHANCE,
    happens: ['50 remove-vips', '50 says fault p0'],
    never: [/park-vips/],
  },
  {
    name: 'lbd stops gracefully: planned hand-over, it goes on with what it has until it ends',
    script: `${ABLE}
      50 lbd stopping
      52 hears active e2 forwards
      152 hears active e2 forwards
      160 lbd dead`,
    config: SECOND_CHANCE,
    happens: [
      '50 standby (epoch 1): lbd is stopping',
      '50 lbd: retiring',
      '50 park-vips',
      '52 lbd: finishing',
      '> 160 lbd dead',
      '160 unpark-vips',
    ],
    never: [/remove-vips/],
  },
  {
    name: 'the agent stops gracefully: it stays until its connections are finished',
    script: `${ABLE}
      50 stop
      52 hears active e2 forwards
      60 lbd has 3
      ${heard(152, 1152, 'active e2 forwards')}
      1200 lbd has 0`,
    config: SECOND_CHANCE,
    happens: ['50 park-vips', '50 says standby p0 finishing', '> 1200 lbd has 0', '1200 stopped'],
    never: [/stopped[\s\S]*> 1200/, /probe/],
  },
  {
    name: 'the role comes back while connections finish: adding the VIPs takes their parked place',
    script: `${ABLE}
      50 switchover
      52 hears active e2 forwards
      60 lbd has 3
      152 hears active e2 p0 finishing forwards
      160 hears standby e2 p0 finishing forwards
      170 hears standby e2 p0 finishing forwards`,
    config: SECOND_CHANCE,
    happens: ['50 park-vips', '152 forward', '160 active (epoch 3): lb2 stepped down', '160 add-vips'],
    never: [/unpark-vips/],
  },
  {
    name: 'the peer hands over: rules that forward before the VIPs, gone when it has finished',
    script: `${BEGIN}
      10 hears active e1 forwards
      50 hears active e1 p0 finishing forwards
      60 hears standby e1 p0 finishing forwards
      160 hears standby e1 finishing forwards
      260 hears standby e1 forwards`,
    config: SECOND_CHANCE,
    happens: ['50 forward', '60 active (epoch 2): lb2 stepped down', '60 add-vips', '260 unforward'],
  },
  {
    name: 'the peer dies while it finishes: its clients get a reset, not silence',
    script: `${BEGIN}
      10 hears active e1 forwards
      60 hears standby e1 p0 finishing forwards
      400 end`,
    config: SECOND_CHANCE,
    happens: ['60 forward', '60 add-vips', '360 unforward'],
  },
  {
    name: 'the peer restarts while it finishes: the same',
    script: `${BEGIN}
      10 hears active e1 forwards
      60 hears standby e1 p0 finishing forwards
      100 hears init e0 forwards reboot`,
    config: SECOND_CHANCE,
    happens: ['60 forward', '100 unforward'],
  },
  {
    name: 'after giving the role back, forward until the announcements of the peer are over',
    script: `${BEGIN}
      10 hears active e1 forwards
      60 hears standby e1 p0 finishing forwards
      100 switchover
      160 hears standby e1 p100 finishing forwards
      170 switchover
      171 lbd has 3
      172 hears active e3 forwards
      ${heard(272, 1672, 'active e3 forwards')}
      1700 end`,
    config: SECOND_CHANCE,
    happens: ['60 forward', '170 park-vips', '1672 unforward'],
  },
  {
    name: 'the role there and back while the former rules still hold: they are made anew',
    script: `${BEGIN}
      10 hears active e1 forwards
      60 hears standby e1 p0 finishing forwards
      100 switchover
      160 hears standby e1 p100 finishing forwards
      170 switchover
      171 lbd has 3
      172 hears active e3 forwards
      272 hears active e3 forwards
      300 hears active e3 p0 finishing forwards
      310 hears active e3 p0 finishing forwards
      320 end`,
    config: SECOND_CHANCE,
    happens: ['60 forward', '170 park-vips', '300 forward'],
  },
  {
    name: 'a peer that is about to take over does not wait for lbd to retire',
    script: `0 manual${ABLE}
      20 promoted
      21 vips-added ok
      50 switchover
      60 hears standby forwards probe`,
    config: SECOND_CHANCE,
    happens: ['50 lbd: retiring', '60 park-vips'],
  },
  {
    name: 'a pause while connections finish: the guardian has removed them',
    script: `${ABLE}
      50 switchover
      52 hears active e2 forwards
      60 lbd has 3
      100 pause 400
      501 end`,
    config: SECOND_CHANCE,
    happens: ['50 park-vips', '501 unpark-vips'],
  },
  {
    name: 'alone: listens for one dead time, then takes over',
    script: `${BEGIN}
      299 end
      400 end`,
    happens: [
      '0 says init p150',
      '250 says init p150 probe',
      '> 299 end',
      '300 active (epoch 1): lb2 was never heard',
      '300 add-vips',
      '300 announce',
      '300 notify active',
    ],
  },
  {
    name: 'both start at once: the better one takes over without waiting',
    script: `${BEGIN}
      10 hears init`,
    happens: ['10 active (epoch 1): nobody is active and lb1 goes before lb2'],
  },
  {
    name: 'both start at once: the worse one waits for the better one',
    script: `${BEGIN}
      10 hears init p200
      110 hears active e1 p200
      150 end`,
    happens: ['10 standby (epoch 0): nobody is active and lb2 goes before lb1'],
    never: [/active \(/],
  },
  {
    name: 'equal priority: the higher address goes first',
    script: `${BEGIN}
      10 hears init p150`,
    happens: ['10 standby (epoch 0): nobody is active and lb2 goes before lb1'],
  },
  {
    name: 'an active peer is heard at the start: standby at once, whatever the priorities',
    script: `${BEGIN}
      10 hears active e4
      110 hears active e4
      210 hears active e4
      310 hears active e4
      400 end`,
    happens: ['10 standby (epoch 4): lb2 is active', '10 notify standby'],
    never: [/add-vips/],
  },
  {
    name: 'the active peer falls silent: probed, then dead, the epoch grows',
    script: `${BEGIN}
      10 hears active e4
      110 hears active e4
      420 end`,
    happens: [
      '360 says standby p150 probe',
      '410 active (epoch 5): lb2 is dead: silent for 300 ms',
      '410 says active p150',
      '410 add-vips',
    ],
  },
  {
    name: 'a peer that is more patient by its config: this node waits as long as its guardian does',
    script: `${BEGIN}
      10 hears active e4 d2000
      1959 end
      2009 end
      2010 end`,
    happens: [
      '> 1959 end',
      '1960 says standby p150 probe',
      '> 2009 end',
      '2010 active (epoch 5): lb2 is dead: silent for 2000 ms',
    ],
  },
  {
    name: "a peer that is less patient by its config: this node stays at its own measure, which is the peer's too",
    script: `${BEGIN}
      10 hears active e4 d200
      309 end
      310 end`,
    happens: ['> 309 end', '310 active (epoch 5): lb2 is dead: silent for 300 ms'],
  },
  {
    name: 'a peer with a longer interval: its probe is answered within a quarter of that one, as it expects',
    script: `${ACTIVE}
      20 hears standby i1000 d3000
      50 hears standby i1000 d3000 probe
      299 end
      300 end`,
    happens: ['> 299 end', '300 standby (epoch 1): lb2 does not hear this node and takes over'],
  },
  {
    name: 'an answer to the probe saves the active peer',
    script: `${BEGIN}
      10 hears active e4
      270 hears active e4
      480 end`,
    happens: ['260 says standby p150 probe', '> 270 hears active e4', '270 says standby p150'],
    never: [/add-vips/],
  },
  {
    name: 'the active peer steps down: takeover at once, not after a dead time',
    script: `${BEGIN}
      10 hears active e4
      50 hears standby e4 p0`,
    happens: ['50 active (epoch 5): lb2 stepped down', '50 add-vips'],
  },
  {
    name: 'the active peer is in fault: takeover at once',
    script: `${BEGIN}
      10 hears active e4
      50 hears fault e4 p0`,
    happens: ['50 active (epoch 5): lb2 is in fault'],
  },
  {
    name: 'a peer that is still removing its VIPs says active: wait',
    script: `${BEGIN}
      10 hears active e4
      50 hears active e4 p0
      60 end`,
    happens: ['10 says standby p150'],
    never: [/add-vips/],
  },
  {
    name: 'the VIPs come after lbd is prepared',
    script: `0 manual${BEGIN}
      10 hears standby
      30 end
      61 end`,
    happens: ['10 says active p150', '> 30 end', '60 add-vips'],
  },
  {
    name: 'switchover: VIPs gone, then priority 0, and no way back while the peer takes over',
    script: `${ACTIVE}
      50 switchover
      55 hears active e2
      155 hears active e2`,
    happens: [
      '50 standby (epoch 1): an operator asked for a switchover',
      '50 remove-vips',
      '50 answer ok: lb1 hands over to lb2',
      '50 says active p0',
      '50 says standby p0',
      '> 55 hears active e2',
      '100 says standby p150',
    ],
    never: [/add-vips[\s\S]*add-vips/],
  },
  {
    name: 'switchover: the peer never takes over, so this node does after two dead times',
    script: `${ACTIVE}
      50 switchover
      150 hears standby e1
      350 hears standby e1
      550 hears standby e1
      720 hears standby e1`,
    happens: ['700 active (epoch 2): nobody is active and lb1 goes before lb2'],
  },
  {
    name: 'switchover asked of the standby: it asks the active one',
    script: `${BEGIN}
      10 hears active e1
      20 switchover self
      30 hears standby e1 p0`,
    happens: [
      '20 answer ok: lb1 asks lb2 for the role',
      '20 says standby p150 request',
      '30 active (epoch 2): lb2 stepped down',
      '30 says active p150',
    ],
  },
  {
    name: 'the peer asks for the role',
    script: `${ACTIVE}
      50 hears standby e1 request`,
    happens: ['50 standby (epoch 1): lb2 asked for the role', '50 remove-vips', '50 says standby p0'],
  },
  {
    name: 'switchover is refused when nobody could take over',
    script: `${BEGIN}
      350 switchover
      360 switchover self
      400 hears fault p0
      410 switchover peer`,
    happens: [
      '350 answer no: lb2 is not heard, so it cannot take over',
      '360 answer ok: lb1 is active already',
      '410 answer no: lb2 is fault and cannot take over now',
    ],
    never: [/remove-vips/],
  },
  {
    name: 'lbd dies: VIPs dropped and fault at once; afterwards no fight for the role',
    script: `${ACTIVE}
      50 lbd dead
      55 hears active e2
      60 lbd well
      65 hears active e2
      165 hears active e2`,
    happens: [
      '50 fault (epoch 1): lbd is dead: it does not run',
      '50 remove-vips',
      '50 notify fault',
      '50 says active p0',
      '50 says fault p0',
      '60 init (epoch 2): the fault is gone',
      '65 standby (epoch 2): lb2 is active',
    ],
    never: [/add-vips[\s\S]*add-vips/],
  },
  {
    name: 'lbd dies while the peer is dead: fault all the same',
    script: `${BEGIN}
      350 lbd dead
      500 lbd well
      600 end`,
    happens: [
      '350 fault (epoch 1): lbd is dead: it does not run',
      '350 remove-vips',
      '550 active (epoch 2): lb2 was never heard',
    ],
  },
  {
    name: 'lbd is not ready: a node that starts must wait, an active one goes on',
    script: `
      0 lbd starting
      0 start
      500 lbd well
      560 lbd starting
      700 end`,
    happens: ['0 fault (epoch 0): lbd is not ready: starting', '550 active (epoch 1): lb2 was never heard'],
    never: [/remove-vips/],
  },
  {
    name: 'no healthy backend for a second while the peer has one: hand over',
    script: `${ACTIVE}
      50 lbd sick
      ${[150, 350, 550, 750, 950, 1045].map((ms) => `${ms} hears standby`).join('\n')}
      1060 end`,
    happens: [
      '> 1045 hears standby',
      '1050 standby (epoch 1): lbd has no healthy backend and lb2 has (no backend)',
    ],
  },
  {
    name: 'an outage of all backends that the checks of the peer see later: no switchover',
    script: `${ACTIVE}
      50 lbd sick
      ${heard(150, 2450, 'standby')}
      ${heard(2550, 4950, 'standby sick')}`,
    config: { healthHoldMs: 3000 },
    happens: ['10 add-vips'],
    never: [/remove-vips/],
  },
  {
    name: 'no healthy backend on either node: stay',
    script: `${ACTIVE}
      50 lbd sick
      ${[150, 350, 550, 750, 950, 1150, 1350].map((ms) => `${ms} hears standby sick`).join('\n')}`,
    happens: ['10 add-vips'],
    never: [/remove-vips/],
  },
  {
    name: 'an outage of all backends that ends, and the checks of the peer see it first: no switchover',
    script: `${ACTIVE}
      50 lbd sick
      ${heard(100, 2400, 'standby sick')}
      ${heard(2500, 3300, 'standby')}
      3350 lbd well
      3360 end`,
    happens: ['10 add-vips'],
    never: [/remove-vips/],
  },
  {
    name: 'no healthy backend and a dead peer: stay',
    script: `${BEGIN}
      350 lbd sick
      2400 end`,
    happens: ['300 add-vips'],
    never: [/remove-vips/],
  },
  {
    name: 'a late tick: the VIPs go first, then listen again; what waited in the socket does not count',
    script: `${ACTIVE}
      120 pause 260
      380 hears standby e1 p0
      381 end`,
    happens: [
      '380 init (epoch 1): this process was paused or starved: 280 ms between two heartbeats, expected 100',
      '380 renew-nonce',
      '380 remove-vips',
      '380 says active p0',
      '380 says init p150',
    ],
    never: [/add-vips[\s\S]*add-vips/],
  },
  {
    name: 'a standby that was paused listens again before it calls the peer dead',
    script: `${BEGIN}
      10 hears active e1
      120 pause 400
      520 end
      600 hears active e1
      650 end`,
    happens: ['600 standby (epoch 1): lb2 is active'],
    never: [/add-vips/],
  },
  {
    name: 'both active: the later epoch stays',
    script: `${BEGIN}
      350 hears active e2`,
    happens: [
      '350 standby (epoch 2): lb2 is active too and stays: epoch 1 here, 2 there; served 0 s here, 0 s there; priority 150 here, 100 there',
      '350 remove-vips',
    ],
  },
  {
    name: 'both active in the same epoch: the higher priority stays and announces again',
    script: `${BEGIN}
      350 hears active e1
      360 hears standby e1`,
    happens: ['300 announce', '> 360 hears standby e1', '360 announce'],
    never: [/remove-vips/],
  },
  {
    name: 'both active and the worse one does not hear: the better one gives way, because only it knows',
    script: `${BEGIN}
      350 hears active e1
      450 hears active e1
      560 hears active e1`,
    happens: ['550 standby (epoch 1): lb2 is active too and does not hear this node', '550 remove-vips'],
  },
  {
    name: 'the peer hears nothing and says so: VIPs dropped before it takes over',
    script: `${ACTIVE}
      110 hears standby probe
      111 hears standby
      210 hears standby probe
      240 end`,
    happens: [
      '> 111 hears standby',
      '235 standby (epoch 1): lb2 does not hear this node and takes over',
      '235 remove-vips',
    ],
  },
  {
    name: 'a peer that does not hear this process: leave it the role while it is there',
    script: `${BEGIN}
      10 hello active
      210 hello active
      410 hello active
      800 end`,
    happens: [
      '300 standby (epoch 0): lb2 is heard, but does not hear this node',
      '760 active (epoch 1): lb2 was never heard',
    ],
  },
  {
    name: 'an active node is not moved by hellos, which may be replayed',
    script: `${BEGIN}
      350 hello active
      450 hello active
      900 end`,
    happens: ['300 add-vips'],
    never: [/remove-vips/],
  },
  {
    name: 'the VIPs cannot be added: fault, and the peer may have them',
    script: `0 manual${BEGIN}
      10 hears standby
      61 vips-added no such device
      62 vips-removed ok
      70 hears active e2`,
    happens: [
      '61 fault (epoch 1): the VIPs could not be added: no such device',
      '61 remove-vips',
      '62 says fault p0',
    ],
  },
  {
    name: 'the VIPs are looked for at a renewal and not there: fault',
    script: `${ACTIVE}
      600 vips-renewed gone: no such device`,
    happens: ['600 fault (epoch 1): the VIPs lost: gone: no such device', '600 remove-vips'],
  },
  {
    name: 'a renewal that fails costs nothing while the lease lasts; it is tried again at once',
    script: `${ACTIVE}
      500 manual
      515 vips-renewed ip did not answer
      611 end
      620 vips-renewed ok
      2500 end`,
    happens: [
      '515 log: the lifetime of the VIPs was not renewed, trying again: ip did not answer',
      '> 620 vips-renewed ok',
      '620 log: the lifetime of the VIPs is renewed again',
    ],
    never: [/remove-vips/],
  },
  {
    name: 'renewals that fail until the lease ends: fault, with the cause',
    script: `${ACTIVE}
      500 manual
      ${Array.from({ length: 15 }, (_, i) => `${515 + i * 101} vips-renewed ip is broken`).join('\n')}
      2009 end
      2010 end`,
    happens: [
      '> 2009 end',
      '2010 fault (epoch 1): the VIPs could not be renewed before their lifetime ended: ip is broken',
      '2010 remove-vips',
    ],
  },
  {
    name: 'a renewal without an answer is noticed by time: fault before the lease may end, and the peer takes over',
    script: `${ACTIVE}
      20 manual
      2009 end
      2010 end
      2020 vips-removed ok`,
    happens: [
      '> 2009 end',
      '2010 fault (epoch 1): the VIPs could not be renewed before their lifetime ended: the host has not answered for 1.5 s',
      '2010 remove-vips',
      '2020 says fault p0',
    ],
  },
  {
    name: 'VIPs that are gone only when their lease is over: the peer hears of the fault before it ends',
    script: `${ACTIVE}
      20 manual
      ${heard(110, 5_510, 'standby')}
      5512 hears standby
      5609 end
      5610 end`,
    happens: [
      '2010 remove-vips',
      '5510 says fault p0',
      '> 5609 end',
      '5610 init (epoch 1): the fault is gone',
    ],
  },
  {
    name: 'an addition without an answer: fault, so that the peer may try',
    script: `0 manual${BEGIN}
      10 hears standby
      20 promoted
      3019 end
      3020 end
      3030 vips-removed ok`,
    happens: [
      '20 add-vips',
      '> 3019 end',
      '3020 fault (epoch 1): the VIPs could not be added: the host did not answer within 3.0 s',
      '3030 says fault p0',
    ],
  },
  {
    name: 'a slow takeover says which step took how long',
    script: `0 manual${BEGIN}
      10 hears standby
      20 promoted
      2110 vips-added ok nft=1600 ip=30`,
    happens: ['2110 log: the VIPs are on this node after 2.1 s: nft 1.6 s'],
  },
  {
    name: 'the VIPs cannot be removed: tried again, and the peer is told only when they are gone',
    script: `${ACTIVE}
      20 manual
      30 lbd dead
      31 vips-removed busy
      140 vips-removed ok`,
    happens: ['30 says active p0', '130 remove-vips', '> 140 vips-removed ok', '140 says fault p0'],
  },
  {
    name: 'the VIPs can never be removed: gone with their lease',
    script: `${ACTIVE}
      20 manual
      30 lbd dead
      4000 end`,
    happens: ['30 says active p0', '3530 says fault p0'],
  },
  {
    name: 'a tracked interface goes down and comes back',
    script: `${ACTIVE}
      20 link eth1 down
      30 hears active e2
      40 link eth1 up
      45 hears active e2`,
    happens: [
      '20 fault (epoch 1): interface eth1 down',
      '20 remove-vips',
      '40 init (epoch 2): the fault is gone',
      '45 standby (epoch 2): lb2 is active',
    ],
  },
  {
    name: 'a tracked interface that comes back does not threaten the active peer, however late its answer',
    script: `${ACTIVE}
      20 link eth1 down
      30 hears active e2
      40 link eth1 up
      100 hears active e2`,
    happens: ['40 says init p150 ask', '100 standby (epoch 2): lb2 is active', '100 says standby p150'],
    never: [/says .*probe/],
  },
  {
    name: 'a cable that comes back: the active peer is not probed before it had time to be heard',
    script: `${ACTIVE}
      20 link eth1 down
      500 link eth1 up
      560 hears active e2
      800 hears active e2`,
    happens: ['500 init (epoch 1): the fault is gone', '560 standby (epoch 2): lb2 is active'],
    never: [/add-vips[\s\S]*add-vips/, /5\d\d says .*probe/],
  },
  {
    name: 'stop: VIPs gone, then priority 0, then exit',
    script: `${ACTIVE}
      20 stop`,
    happens: [
      '20 standby (epoch 1): this agent is stopping',
      '20 remove-vips',
      '20 stopped',
      '20 says standby p0',
    ],
  },
  {
    name: 'the guardian fired: assume that the peer took over',
    script: `${ACTIVE}
      130 guardian-fired
      140 hears active e2`,
    happens: [
      '130 init (epoch 1): the guardian missed its beats and removed the VIPs',
      '130 remove-vips',
      '140 standby (epoch 2): lb2 is active',
    ],
  },
  {
    name: 'the guardian fires while lbd retires: there is nothing to park any more',
    script: `0 manual${ABLE}
      20 promoted
      21 vips-added ok
      50 switchover
      60 guardian-fired
      61 vips-removed ok
      70 retired`,
    config: SECOND_CHANCE,
    happens: ['60 remove-vips', '61 says standby p0'],
    never: [/ park-vips/],
  },
  {
    name: 'switchover: the peer dies before it took over; an active node does not offer the role any more',
    script: `${ACTIVE}
      50 switchover
      400 end`,
    happens: [
      '50 says standby p0',
      '310 active (epoch 2): lb2 is dead: silent for 300 ms',
      '310 says active p150',
    ],
  },
  {
    name: 'a node that is slow and hears no peer goes on serving through pauses as it has had',
    script: `${BEGIN}
      10 hears standby d300
      1000 pause 400
      3000 pause 400
      6000 pause 350
      7000 end`,
    happens: ['> 6000 pause 350', '> 7000 end'],
    never: [/^6\d\d\d (init|remove-vips)/m],
  },
  {
    name: 'an active node that gets its processor late hands over to a peer that gets it in time',
    script: `${BEGIN}
      ${heard(10, 910, 'standby d300 echo')}
      1000 pause 500
      ${heard(1510, 2910, 'standby d300 echo')}
      3000 pause 500
      3510 hears standby d300 echo
      ${heard(3540, 4540, 'active e4 d300 echo')}`,
    happens: [
      '3510 standby (epoch 3): this node gets its processor late, and lb2 in time',
      '3510 remove-vips',
      '3510 says standby p0',
    ],
  },
  {
    name: 'so does one with a long dead time, which leaves no room for as much patience again',
    config: { deadAfter: 8 },
    script: `${BEGIN}
      ${heard(10, 910, 'standby d800 echo')}
      1000 pause 1100
      ${heard(2110, 2910, 'standby d800 echo')}
      3000 pause 1100
      4110 hears standby d800 echo
      ${heard(4140, 5140, 'active e4 d800 echo')}`,
    happens: ['4110 standby (epoch 3): this node gets its processor late, and lb2 in time'],
  },
  {
    name: 'an active node that gets its processor late stays where the peer does, too',
    script: `${BEGIN}
      ${heard(10, 910, 'standby d300 echo')}
      1000 pause 500
      ${heard(1510, 2910, 'standby d700 echo')}
      3000 pause 500
      ${heard(3510, 4010, 'standby d700 echo')}
      4020 pause 500
      ${heard(4530, 5030, 'standby d700 echo')}`,
    happens: ['> 5030 hears standby d700 echo'],
    never: [/processor late, lb2/],
  },
  {
    name: 'a standby that is paused again and again takes over from a dead peer between two pauses',
    script: `${BEGIN}
      ${heard(10, 1010, 'active e1')}
      1015 pause 500
      ${heard(1620, 2220, 'active e1')}
      2315 pause 500
      ${heard(2920, 3420, 'active e1')}
      3515 pause 500
      4715 pause 500
      5715 end`,
    happens: ['4366 active (epoch 2): lb2 is dead: silent for 946 ms', '4366 add-vips', '> 4715 pause 500'],
  },
  {
    name: 'a peer stepped down and a new process of it serves already: its hello, before it can prove anything, is waited for',
    script: `${SUCCEEDED}
      190 hears active e3`,
    happens: ['60 init (epoch 2): the fault is gone', '> 190 hears active e3'],
    never: [/^[0-9]{2,} active \(epoch 3/m],
  },
  {
    name: 'a hello that was played back holds that off for an interval and a half at most',
    script: `${SUCCEEDED}
      150 hello active
      200 hello active
      250 end`,
    happens: ['220 active (epoch 3): lb2 stepped down'],
  },
  {
    name: 'a fault that passes: the peer, which has just heard of it, may be about to take over',
    script: `${ACTIVE}
      50 lbd dead
      52 lbd well
      54 hears standby e1
      56 hears active e2
      156 hears active e2`,
    happens: [
      '50 says fault p0',
      '52 init (epoch 1): the fault is gone',
      '54 standby (epoch 1): the fault is gone; lb2 may be about to take over',
    ],
    never: [/add-vips[\s\S]*add-vips/],
  },
  {
    name: 'a fault that passes: the peer stays a standby, so this node takes the role again',
    script: `${ACTIVE}
      50 lbd dead
      52 lbd well
      54 hears standby e1
      152 hears standby e1`,
    happens: ['152 active (epoch 2): nobody is active and lb1 goes before lb2'],
  },
  {
    name: 'preempt: after its delay, once its sessions are in step, a better node asks for the role',
    script: `
      0 lbd unsynced
      0 start
      10 hears active e1
      90 lbd well
      200 hears active e1
      330 hears active e1
      400 hears active e1
      410 hears standby e1 p0`,
    config: { preemptDelayMs: 250 },
    happens: ['340 says standby p150 request', '410 active (epoch 2): lb2 stepped down'],
  },
  {
    name: 'no preempt: a better node leaves the role where it is',
    script: `${BEGIN}
      10 hears active e1
      ${Array.from({ length: 40 }, (_, i) => `${110 + i * 100} hears active e1`).join('\n')}`,
    happens: ['10 standby (epoch 1): lb2 is active'],
    never: [/request/, /add-vips/],
  },
  {
    name: 'announcements: a burst after the takeover, then a refresh',
    script: `${ACTIVE}
      ${Array.from({ length: 20 }, (_, i) => `${100 + i * 100} hears standby`).join('\n')}`,
    config: { announceCount: 3, announceRefreshMs: 1000 },
    happens: ['10 announce', '210 announce', '410 announce', '1410 announce'],
  },
  {
    name: 'the agent of the active peer dies: its host refuses, the guardian has its time, then takeover',
    script: `${BEGIN}
      10 hears active e4
      60 suspect refused
      60 suspect refused
      65 suspect refused
      70 suspect refused
      180 end`,
    happens: [
      '60 says standby p150 ask',
      '65 sends 1',
      '70 sends 1',
      '160 active (epoch 5): lb2 is dead: refused',
      '160 add-vips',
    ],
    never: [/75 active/],
  },
  {
    name: 'the guardian of the dead agent says farewell: takeover at once',
    script: `${BEGIN}
      10 hears active e4
      60 suspect refused
      65 suspect refused
      78 hears init e4 p0`,
    happens: ['78 active (epoch 5): lb2 stepped down'],
  },
  {
    name: 'a refusal, and then an answer: the peer only opened its sockets again',
    script: `${BEGIN}
      10 hears active e4
      60 suspect refused
      62 hears active e4
      100 suspect refused
      105 suspect refused
      150 end`,
    happens: ['60 says standby p150 ask', '100 says standby p150'],
    never: [/add-vips/, /100 says.* ask/],
  },
  {
    name: 'one refusal and then silence: for the dead time to judge, the agent may be stopped',
    script: `${BEGIN}
      10 hears active e4
      60 suspect refused
      150 end
      305 end`,
    happens: ['60 says standby p150 ask', '260 says standby p150 probe', '> 305 end'],
    never: [/add-vips/],
  },
  {
    name: 'the session sync ends and the peer is silent, but nobody refuses: the dead time decides',
    script: `${BEGIN}
      10 hears active e4
      60 suspect channel
      305 end
      310 end`,
    happens: [
      '60 says standby p150 ask',
      '> 305 end',
      '310 active (epoch 5): lb2 is dead: silent for 300 ms',
    ],
    never: [/75 active/, /160 active/],
  },
  {
    name: 'the session sync ends, then questions are refused: dead',
    script: `${BEGIN}
      10 hears active e4
      60 suspect channel
      61 suspect refused
      66 suspect refused
      180 end`,
    happens: ['160 active (epoch 5): lb2 is dead: refused'],
  },
  {
    name: 'the agent of a standby dies: known at once, and nothing else changes',
    script: `${ACTIVE}
      60 suspect refused
      65 suspect refused
      80 switchover`,
    happens: ['60 says active p150 ask', '80 answer no: lb2 is not heard, so it cannot take over'],
    never: [/remove-vips/],
  },
  {
    name: 'a peer that asks gets an answer at once, and needs no other',
    script: `${ACTIVE}
      20 hears standby
      30 hears standby probe
      31 hears standby
      40 hears standby ask
      90 end`,
    happens: ['10 says active p150', '> 40 hears standby ask', '40 sends 1', '> 90 end'],
    never: [/remove-vips/],
  },
  {
    name: 'after a takeover from a peer that nobody saw leave: announce again when its lease is over',
    script: `${BEGIN}
      10 hears active e4
      4000 end`,
    happens: ['310 announce', '3810 announce'],
  },
  {
    name: 'witness: no result yet, so the takeover waits for it',
    script: `${BEGIN}
      10 hears active e4
      330 end
      340 witness yes 290`,
    config: { witnessWaitMs: 600 },
    happens: ['260 check-witness', '> 330 end', '340 active (epoch 5): lb2 is dead: silent for 330 ms'],
  },
  {
    name: 'witness: a result from before the peer was missed does not count',
    script: `${BEGIN}
      10 hears active e4
      100 witness yes
      330 end`,
    config: { witnessWaitMs: 600 },
    happens: ['260 check-witness'],
    never: [/add-vips/],
  },
  {
    name: 'witness: no result at all is not waited for without end',
    script: `${BEGIN}
      10 hears active e4
      859 end
      870 end`,
    config: { witnessWaitMs: 600 },
    happens: ['> 859 end', '860 active (epoch 5): lb2 is dead: silent for 850 ms'],
  },
  {
    name: 'witness: it cannot be checked, so it is ignored',
    script: `${BEGIN}
      1 witness unknown
      10 hears active e4
      320 end`,
    config: { witnessWaitMs: 600 },
    happens: ['310 active (epoch 5): lb2 is dead: silent for 300 ms'],
  },
  {
    name: 'witness: an isolated standby does not become active, and comes back by itself',
    script: `${BEGIN}
      10 hears active e4
      300 witness no 260
      320 end
      700 witness yes
      710 hears active e4`,
    config: { witnessWaitMs: 600 },
    happens: [
      '310 fault (epoch 4): isolated: the gateway does not answer, and lb2 is not heard',
      '700 init (epoch 4): the fault is gone',
      '710 standby (epoch 4): lb2 is active',
    ],
    never: [/add-vips/],
  },
  {
    name: 'witness: an isolated active node does not stay active',
    script: `${ACTIVE}
      20 witness yes
      320 witness no 311
      400 end`,
    config: { witnessWaitMs: 600 },
    happens: [
      '310 check-witness',
      '320 fault (epoch 1): isolated: the gateway does not answer, and lb2 is not heard',
      '320 remove-vips',
    ],
  },
  {
    name: 'witness: no answer while the peer is heard changes nothing',
    script: `${ACTIVE}
      20 witness no
      100 hears standby
      200 hears standby
      300 hears standby`,
    config: { witnessWaitMs: 600 },
    happens: ['10 add-vips'],
    never: [/remove-vips/, /fault/],
  },
  {
    name: 'witness: a host that refuses heartbeats proves that this node is not isolated',
    script: `${BEGIN}
      10 hears active e4
      50 witness no
      60 suspect refused
      65 suspect refused
      180 end`,
    config: { witnessWaitMs: 600 },
    happens: ['160 active (epoch 5): lb2 is dead: refused'],
  },
  {
    name: 'preempt: an operator who took the role away from the better node is not overruled',
    script: `${ACTIVE}
      50 switchover
      55 hears active e2
      ${heard(155, 1955, 'active e2')}
      1960 why
      1970 hears active e2 reboot
      ${heard(2070, 2270, 'active e2')}
      2300 why`,
    config: { preemptDelayMs: 250 },
    happens: [
      '1960 lb2 is active; not preempting: an operator made lb2 active',
      '> 1970 hears active e2 reboot',
      '2220 says standby p150 request',
      '2300 lb2 is active; preempting',
    ],
    never: [/request[\s\S]*reboot/],
  },
  {
    name: 'preempt: the same where the operator asked the worse node',
    script: `${ACTIVE}
      50 hears standby e1 request
      55 hears active e2
      ${heard(155, 955, 'active e2')}
      960 why`,
    config: { preemptDelayMs: 250 },
    happens: ['960 lb2 is active; not preempting: an operator made lb2 active'],
    never: [/request[\s\S]*says standby p150 request/],
  },
  {
    name: 'preempt: a fault of the chosen node ends the choice',
    script: `${ACTIVE}
      50 switchover
      55 hears active e2
      155 hears fault e2 p0
      200 hears standby e2`,
    config: { preemptDelayMs: 250 },
    happens: ['155 active (epoch 3): lb2 is in fault'],
  },
  {
    name: 'preempt: not while sessions are not in step, and it says so',
    script: `
      0 lbd unsynced
      0 start
      ${heard(10, 610, 'active e1')}
      620 why`,
    config: { preemptDelayMs: 250 },
    happens: ['620 lb2 is active; not preempting: sessions are not in step'],
    never: [/request/],
  },
  {
    name: 'a peer that was a standby turns up active: told at once that this node stays',
    script: `${ACTIVE}
      110 hears standby
      150 hears active e1
      160 hears active e1`,
    happens: ['> 150 hears active e1', '150 sends 1'],
    never: [/remove-vips/, /160 sends/],
  },
  {
    name: 'split brain heals: the one that stays answers at once, so that the loser need not wait',
    script: `0 manual${BEGIN}
      10 hears active e1
      311 promoted
      312 vips-added ok
      450 hears active e1`,
    happens: ['310 active (epoch 2): lb2 is dead: silent for 300 ms', '> 450 hears active e1', '450 sends 1'],
    never: [/remove-vips/],
  },
];

tell(STORIES);

t.test('a heartbeat says when this node takes its peer for dead, by its own config', (t) => {
  t.equal(reportOf(CONFIG, initialState(CONFIG, 0), 0).deadTimeMs, 300);
  t.end();
});

t.test('a step leaves the state that it was given alone', (t) => {
  const state = initialState(CONFIG, 0);
  const copy = structuredClone(state);
  step(CONFIG, state, { type: 'interface', now: 1, name: 'eth1', up: false, why: 'down' });
  t.same(state, copy);
  t.end();
});
