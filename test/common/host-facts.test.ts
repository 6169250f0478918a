import t from 'tap';
import { lameNeeds } from '../../common/host-facts.ts';
import type { PlacedNeed } from '../../common/host-needs.ts';

const need = (name: string): PlacedNeed => ({
  ...{ kind: 'interface', name, subject: `interface ${name}` },
  ...{ path: ['ha', 'track', 'interfaces', 0], where: 'tandem.yaml:8:45' },
});

t.test(
  'an interface that is there and down is told with its key; a missing one is a need that is not met',
  (t) => {
    const facts = { interfaces: ['eth1', 'eth8'], addresses: [], troubles: ['', 'interface eth8 is down'] };
    t.strictSame(
      lameNeeds([need('eth1'), need('eth8'), need('eth9')], facts).map(({ where, message }) => [
        where,
        message,
      ]),
      [['tandem.yaml:8:45', 'ha.track.interfaces.0: interface eth8 is down']],
    );
    t.end();
  },
);
