/** What each unit of a node must run as: its user, and the capabilities in effect of each of its processes, in hex. */
const EXPECTED: Readonly<Record<string, { readonly user: string; readonly capabilities: string }>> = {
  lbd: { user: 'tandem-lb', capabilities: '0000000000000400' },
  'ha-agent': { user: 'tandem-ha', capabilities: '0000000000003000' },
  'tandem-kernel': { user: 'tandem-net', capabilities: '0000000000001000' },
};
/** Those that run on every node; the helper of the kernel engine comes when it is asked. */
const ALWAYS = ['lbd', 'ha-agent'];
export const UNITS = Object.keys(EXPECTED);

/** A shell command, for root on a node: a line for each process of the units, `UNIT USER CAPABILITIES`. */
export const USERS_COMMAND = `for unit in ${UNITS.join(' ')}; do
  group=$(systemctl show --property=ControlGroup --value $unit.service)
  [ -n "$group" ] || continue
  while read -r pid; do
    uid=$(sed -n 's/^Uid:\\t\\([0-9]*\\).*/\\1/p' /proc/$pid/status 2>/dev/null)
    caps=$(sed -n 's/^CapEff:\\t//p' /proc/$pid/status 2>/dev/null)
    [ -z "$caps" ] || echo "$unit $(id -nu "$uid") $caps"
  done <"/sys/fs/cgroup$group/cgroup.procs"
done`;

/** @param listed what `USERS_COMMAND` printed @returns what is not as it must be, a line each */
export function wrongUsers(listed: string): string[] {
  const lines = listed.split('\n').filter((line) => line !== '');
  const seen = new Set(lines.map((line) => line.split(' ', 1)[0]!));
  return [
    ...ALWAYS.filter((unit) => !seen.has(unit)).map((unit) => `${unit} does not run`),
    ...lines.flatMap((line) => {
      const [unit = '', user, capabilities] = line.split(' ');
      const expected = EXPECTED[unit];
      if (expected === undefined) return [`found "${line}"`];
      if (user !== expected.user) return [`a process of ${unit} is ${user}, expected ${expected.user}`];
      // One that has given up what it had is as good.
      return capabilities === expected.capabilities || /^0+$/.test(capabilities ?? '')
        ? []
        : [`a process of ${unit} has the capabilities ${capabilities}, expected ${expected.capabilities}`];
    }),
  ];
}
