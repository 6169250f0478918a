import t from 'tap';
import type { Ruleset } from '../../../lbd/kernel/ruleset.ts';
import { differences } from '../../../lbd/kernel/table-listing.ts';

const WANTED: Ruleset = {
  chains: new Map([['c', { hook: '', rules: ['x', 'y'] }]]),
  sets: new Map([
    ['m', { kind: 'map', definition: '', elements: new Map([['0', 'goto c']]) }],
    ['d', { kind: 'set', definition: '', elements: undefined }],
  ]),
};
const found = (sets: Record<string, number>, chains: Record<string, number>) => ({
  sets: new Map(Object.entries(sets)),
  chains: new Map(Object.entries(chains)),
});

t.test('what differs is named', async (t) => {
  t.equal(differences(WANTED, found({ m: 1, d: 77 }, { c: 2 })), undefined);
  t.equal(differences(WANTED, undefined), 'it was gone');
  t.equal(differences(WANTED, found({ m: 1, d: 0 }, {})), 'chain c was gone');
  t.equal(differences(WANTED, found({ m: 1, d: 0 }, { c: 1 })), 'chain c had 1 rules, expected 2');
  t.equal(differences(WANTED, found({ m: 0, d: 0 }, { c: 2 })), 'set m had 0 elements, expected 1');
  t.equal(differences(WANTED, found({ m: 1 }, { c: 2 })), 'set d was gone');
  t.equal(differences(WANTED, found({ m: 1, d: 0, x: 0 }, { c: 2 })), 'set x was added');
  t.equal(differences(WANTED, found({ m: 1, d: 0 }, { c: 2, x: 0 })), 'chain x was added');
});
