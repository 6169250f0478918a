import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { execa } from 'execa';
import { messageOf } from './errors.ts';
import type { PlacedNeed, UnmetNeed } from './host-needs.ts';
import { linkTrouble } from './link-state.ts';
import { didYouMean } from './suggest.ts';
import { whoElseWrites } from './trusted-path.ts';

/** It answers within milliseconds; a machine that boots is slower. */
const TIMEOUT_MS = 5_000;

/** What a host has, as far as `ip` tells. */
export interface HostFacts {
  readonly interfaces: readonly string[];
  /** What is wrong with each of them; empty: nothing. */
  readonly troubles: readonly string[];
  readonly addresses: readonly string[];
}

/** @returns undefined where the host cannot be asked */
export async function hostFacts(): Promise<HostFacts | undefined> {
  try {
    const { stdout } = await execa('ip', ['-json', 'addr', 'show'], { timeout: TIMEOUT_MS });
    const links = JSON.parse(stdout) as {
      ifname: string;
      flags?: unknown;
      addr_info?: { local: string }[];
    }[];
    return {
      interfaces: links.map(({ ifname }) => ifname),
      troubles: links.map(({ ifname, flags }) => linkTrouble(ifname, flags)),
      addresses: links.flatMap(({ addr_info = [] }) => addr_info.map(({ local }) => local)),
    };
  } catch {
    return undefined;
  }
}

/**
 * What this host does not have of what a config needs, in the order of the needs. An interface that cannot be looked for
 * counts as there.
 *
 * @param facts of this host; undefined: they are not known
 * @param owners user ids that, beside root, may own or write programs
 */
export async function unmetNeeds(
  needs: readonly PlacedNeed[],
  facts: HostFacts | undefined,
  owners?: readonly number[],
): Promise<UnmetNeed[]> {
  const judged = await Promise.all(
    needs.map(async (need): Promise<UnmetNeed[]> => {
      const { kind, name, path } = need;
      const why =
        kind === 'program' ? await whyNoProgram(name, owners) : facts && whyNoInterface(name, facts);
      return why === undefined ? [] : [{ ...need, message: `${path.join('.')}: ${why}` }];
    }),
  );
  return judged.flat();
}

/** Interfaces that are there and carry nothing now, in the order of the needs: the config is good, this host is not. */
export function lameNeeds(needs: readonly PlacedNeed[], { interfaces, troubles }: HostFacts): UnmetNeed[] {
  return needs.flatMap((need) => {
    const why = need.kind === 'interface' ? troubles[interfaces.indexOf(need.name)] : undefined;
    return why ? [{ ...need, message: `${need.path.join('.')}: ${why}` }] : [];
  });
}

function whyNoInterface(name: string, { interfaces }: HostFacts): string | undefined {
  if (interfaces.includes(name)) return undefined;
  return `found ${name}, but this host has only ${interfaces.join(', ')}${didYouMean(name, interfaces)}`;
}

/** It is run with the capabilities of the agent, so nobody else may change it. */
async function whyNoProgram(
  path: string,
  owners: readonly number[] | undefined,
): Promise<string | undefined> {
  try {
    await access(path, constants.X_OK);
  } catch (error) {
    return `found ${path}, which cannot be run on this host: ${messageOf(error)}`;
  }
  const why = await whoElseWrites(path, owners);
  return why && `found ${path}, which must belong to root, and nobody else may write it: ${why}`;
}
