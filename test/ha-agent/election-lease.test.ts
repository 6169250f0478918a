import t from 'tap';
import { farewellOf, initialState, reportOf, step } from '../../ha-agent/election.ts';
import { ALONE_MS } from '../../ha-agent/election-lease.ts';
import { BEGIN, CONFIG, heard, type Story, tell } from './story.ts';

/** As long as with these heartbeats: two and a half intervals. */
const config = { leaseMs: 250 };

/** Active, with the lease, and the peer is a standby that consents. */
const ACTIVE = `${BEGIN}
  5 lease taken 0
  10 hears standby consents 1
  15 lease held 260`;

const STORIES: readonly Story[] = [
  {
    name: 'the peer dies and the lease is free: the takeover is not later than without a witness',
    script: `${BEGIN}
      10 hears active e4
      262 lease held 500
      315 end`,
    happens: ['260 want-lease true', '310 active (epoch 5): lb2 is dead: silent for 300 ms', '310 add-vips'],
    config,
  },
  {
    name: 'the peer is not heard and has the lease: this node stays standby, and takes over when it is over',
    script: `${BEGIN}
      10 hears active e4
      300 lease taken 600
      500 why
      601 lease held 850
      602 end`,
    happens: [
      '500 lb2 is not heard, and holds the lease of the witness',
      '601 active (epoch 5): lb2 is dead: silent for 591 ms',
    ],
    never: [/^(3|4|5)\d\d active/],
    config,
  },
  {
    name: 'neither the peer nor the witness: this node does not take over',
    script: `${BEGIN}
      10 hears active e4
      300 lease away
      2000 why
      2001 end`,
    happens: ['2000 neither lb2 nor the witness is heard, so lb2 may have the lease'],
    never: [/add-vips/],
    config,
  },
  {
    name: 'the active node hears nobody: it drops the VIPs when lease and consent are over',
    script: `${ACTIVE}
      100 hears standby consents 1
      500 end`,
    happens: [
      '286 standby (epoch 2): lb2 is not heard, and the witness has not granted the lease yet',
      '286 remove-vips',
    ],
    config: { ...config, trackLbd: false },
  },
  {
    name: 'the active node does not hear the peer but has the lease: it stays',
    script: `${ACTIVE}
      200 lease held 450
      400 lease held 650
      600 lease held 850
      800 end`,
    happens: ['> 800 end'],
    never: [/remove-vips/],
    config,
  },
  {
    name: 'the witness goes away while the nodes hear each other: nothing moves, and both go on without it',
    script: `${ACTIVE}
      ${heard(100, 900, 'standby consents 90').replaceAll(/(\d+) hears standby consents 90/g, (_, at) => `${at} hears standby consents ${at - 1}`)}
      950 lease away
      1000 hears standby consents 999 away
      1100 hears standby away
      3000 end`,
    happens: ['> 3000 end'],
    never: [/remove-vips/],
    config,
  },
  {
    name: 'both are free of the witness: silence is death again',
    script: `${BEGIN}
      5 lease away
      10 hears active e4 away
      320 end`,
    happens: ['310 active (epoch 5): lb2 is dead: silent for 300 ms'],
    config,
  },
  {
    name: 'both are free, but the witness is back and says that the peer has the lease: it is not dead',
    script: `${BEGIN}
      5 lease away
      10 hears active e4 away
      290 lease taken 540
      320 why`,
    happens: ['320 lb2 is not heard, and holds the lease of the witness'],
    never: [/add-vips/],
    config,
  },
  {
    name: 'a peer without such a witness: as without one',
    script: `${BEGIN}
      5 lease away
      10 hears active e4 without
      320 end`,
    happens: ['310 active (epoch 5): lb2 is dead: silent for 300 ms'],
    config,
  },
  {
    name: 'the peer steps down: this node takes over by its word, and must have the lease soon',
    script: `${BEGIN}
      10 hears active e4
      100 hears init p0 e4
      104 why
      700 end`,
    happens: [
      '100 active (epoch 5): lb2 stepped down',
      '385 standby (epoch 5): lb2 is not heard, and the witness has not granted the lease yet',
    ],
    config,
  },
  {
    name: 'the agent of the peer is dead, as its host says: the lease is not waited for',
    script: `${BEGIN}
      10 hears active e4
      20 lease taken 270
      50 suspect refused
      56 suspect refused
      160 end`,
    happens: ['150 active (epoch 5): lb2 is dead: refused'],
    config,
  },
  {
    name: 'the peer does not hear this node, which has the lease: it stays active',
    script: `${ACTIVE}
      100 hears standby probe
      120 lease held 380
      200 hears standby probe
      300 hears standby probe
      310 end`,
    happens: ['> 310 end'],
    never: [/remove-vips/],
    config,
  },
  {
    name: 'the same where the peer would take over without the lease: this node gives way',
    script: `${ACTIVE}
      100 hears standby probe free
      120 lease held 380
      200 end`,
    happens: ['125 standby (epoch 2): lb2 does not hear this node and takes over'],
    config,
  },
  {
    name: 'nobody serves and the peer does not hear this node: the lease decides, once consent is over',
    script: `${BEGIN}
      10 hears active e4
      100 hears standby probe e4
      105 lease held 900
      200 hears standby probe e4
      300 hears standby probe e4
      400 hears standby probe e4
      500 end`,
    happens: [
      '100 want-lease true',
      '310 active (epoch 5): lb2 does not hear this node, which has the lease',
    ],
    config,
  },
  {
    name: 'the epoch goes on from what the witness has seen',
    script: `${BEGIN}
      290 lease held 800 e9
      320 end`,
    happens: ['300 active (epoch 10): lb2 was never heard'],
    config,
  },
  {
    name: 'the lease is wanted until the VIPs are gone',
    script: `0 manual${ACTIVE}
      20 promoted
      30 vips-added ok
      40 stop
      50 vips-removed ok`,
    happens: ['> 40 stop', '> 50 vips-removed ok', '50 want-lease false'],
    never: [/^40 want-lease/],
    config,
  },
  {
    name: 'a node whose peer has been gone for long survives the loss of the witness',
    script: `${BEGIN}
      290 lease held 99999 alone
      ${ALONE_MS + 500} lease held 99999 alone
      ${ALONE_MS + 600} lease away
      ${ALONE_MS + 9_000} end`,
    happens: ['> 19000 end'],
    never: [/remove-vips/],
    config,
  },
  {
    name: 'a node that lost the witness before it knew that its peer is gone does not serve',
    script: `${BEGIN}
      290 lease held 2000 alone
      1900 lease held 2000 away
      2100 end`,
    happens: [
      '2000 standby (epoch 2): neither lb2 nor the witness is heard, so lb2 may have the lease',
      '2000 remove-vips',
    ],
    config,
  },
  {
    name: 'consent that is about to end is asked for',
    script: `${BEGIN}
      10 hears standby consents 5
      290 end`,
    happens: [
      '190 says active p150 ask',
      '190 sends 1',
      '290 standby (epoch 1): lb2 is not heard, and the witness has not granted the lease yet',
    ],
    config,
  },
];

tell(STORIES);

t.test('an active node and one that is a rival consent to nothing', (t) => {
  const report = {
    ...reportOf({ ...CONFIG, ...config }, initialState({ ...CONFIG, ...config }, 0), 7),
    intervalMs: 100,
  };
  const lease = { ...report.lease!, sentMs: 77 };
  const standby = initialState({ ...CONFIG, ...config }, 0);
  const { state } = step({ ...CONFIG, ...config }, standby, {
    type: 'heartbeat',
    now: 80,
    report: { ...report, lease },
    restarted: true,
  });
  const said = (s: typeof state) => reportOf({ ...CONFIG, ...config }, s, 90).lease;
  t.match(said(state), { heardSentMs: 77, sentMs: 90, isBound: true });
  t.match(said({ ...state, role: 'active' }), { heardSentMs: 0 });
  t.match(said({ ...state, lease: { ...state.lease, isRival: true } }), { heardSentMs: 0 });
  t.match(farewellOf({ ...CONFIG, ...config }, state).lease, { held: false, isBound: true, heardSentMs: 0 });
  t.end();
});

t.test('a config that gets a witness begins free of it: a reload is not a fault', (t) => {
  const active = { ...initialState(CONFIG, 0), role: 'active' as const, vip: 'held' as const };
  const { state, actions } = step({ ...CONFIG, ...config, trackLbd: false }, active, {
    type: 'tick',
    now: 100,
  });
  t.equal(state.role, 'active');
  t.ok(actions.some((action) => action.type === 'want-lease' && action.isWanted));
  t.end();
});
