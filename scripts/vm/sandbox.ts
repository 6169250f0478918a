/** Of `systemd-analyze security`, which ends at 10: what each unit must stay below. */
const EXPOSURE_LIMIT = 2;
const EXPOSURE = /^Overall exposure level for (\S+): (\d+\.\d)/;

/** A shell command, for root on a node: `yes` where the agent holds a view of the process of lbd. */
export const SIGHT_COMMAND = `lbd=$(systemctl show --property=MainPID --value lbd)
agent=$(systemctl show --property=MainPID --value ha-agent)
readlink /proc/$agent/fd/* | grep -qx "/proc/$lbd/stat" && echo yes || echo no`;

/** @param lines last ones of `systemd-analyze security UNIT`, from their first letter on @returns what is not as it must be */
export function tooExposed(lines: readonly string[]): string[] {
  return lines.flatMap((line) => {
    const [, unit, level] = EXPOSURE.exec(line) ?? [];
    if (level === undefined) return [`expected an exposure level, found "${line}"`];
    return Number(level) < EXPOSURE_LIMIT
      ? []
      : [`${unit} has an exposure level of ${level}, expected less than ${EXPOSURE_LIMIT}`];
  });
}
