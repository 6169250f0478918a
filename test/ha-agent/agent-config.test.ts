import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { electionConfig, requireHa } from '../../ha-agent/agent-config.ts';
import { PAIR } from '../common/config-helper.ts';

const election = (text: string) =>
  electionConfig(requireHa(parseConfig(text, '/f', { node: 'lb1', cpus: 2 })), 'default', false);

t.test('a lack of backends counts only after the peer had time to see it as well', async (t) => {
  const health = (text: string) =>
    election(PAIR.replace('pools: { web: {', `pools: { web: { health: ${text},`));
  t.equal(health('{ type: tcp, interval: 10s, timeout: 5s }').healthHoldMs, 16_000);
  t.equal(health('{ type: tcp, interval: 200ms, timeout: 100ms }').healthHoldMs, 1_300);
  t.equal(health('{ type: none }').healthHoldMs, 1_000);
});

t.test(
  'the machine of the peer and the witnesses are neighbours that show that the network works',
  async (t) => {
    t.strictSame(election(PAIR).neighbours, ['192.0.2.2']);
    t.strictSame(election(PAIR.replace('ha: {', 'ha: { witness: [192.0.2.9],')).neighbours, [
      '192.0.2.2',
      '192.0.2.9',
    ]);
  },
);
