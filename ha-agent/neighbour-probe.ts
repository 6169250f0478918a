import { readFileSync } from 'node:fs';
import { OperatorError } from '../common/errors.ts';
import type { VipConfig } from '../common/model.ts';
import type { VipAnswer } from './election-types.ts';
import type { IpAnswer, IpBatch } from './ip-batch.ts';

/** A neighbour answers within a millisecond; one that is busy within some. From one look to the next. */
const LOOK_AFTER_MS = [3, 5, 12];
/** The kernel has been told to ask within a millisecond. */
const HANG_MS = 200;
/** What somebody has entered by hand says nothing of who is there. */
const BY_HAND = ['PERMANENT', 'NOARP'];

/**
 * Asks on the link who has an address, by way of the kernel: its entry is forgotten, it asks anew at once (ARP, RFC 826; a
 * neighbour solicitation, RFC 4861 section 7.2.2), and its entry then shows who has answered. So nothing has to listen to
 * the network at other times.
 */
export class NeighbourProbe {
  /** For this alone: `ip neigh` ends the whole process where it fails. */
  readonly #ip: IpBatch;
  readonly #canAsk: (device: string, family: 4 | 6) => boolean;

  /** @param canAsk another one only in tests */
  constructor(ip: IpBatch, canAsk = hasFamily) {
    this.#ip = ip;
    this.#canAsk = canAsk;
  }

  /**
   * Takes 20 ms, less when all have answered.
   *
   * @param vips on their interfaces
   * @param neighbours other addresses, asked for on the same interfaces
   * @param strays more of them, for which an answer counts that came late: since the last question
   * @returns who has answered; nothing of this host
   * @throws OperatorError when the kernel could not be told to ask
   */
  async ask(
    vips: readonly VipConfig[],
    neighbours: readonly string[],
    strays: readonly string[] = [],
  ): Promise<VipAnswer[]> {
    // One that cannot be asked for must not keep the others from an answer.
    const able = vips.filter(({ interface: device, family }) => this.#canAsk(device, family));
    const asked = targets(able, [...neighbours, ...strays]);
    if (asked.length === 0)
      throw new OperatorError('CANNOT_PROBE', 'no VIP has neighbours that could be asked');
    // What is forgotten now may have come since the last question.
    const late = asked.filter(({ address }) => strays.includes(address));
    const { objects, errors } = await this.#ip.run(
      [
        ...late.map(query),
        ...asked.flatMap(({ address, device }) => [
          `neigh flush to ${address} dev ${device}`,
          `neigh replace ${address} nud none dev ${device} use`,
        ]),
      ],
      HANG_MS,
    );
    if (errors.length > 0) throw new OperatorError('CANNOT_PROBE', `ip neigh: ${errors.join('; ')}`);
    let answers: VipAnswer[] = [];
    for (const ms of LOOK_AFTER_MS) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      answers = await this.#answers(asked);
      if (answers.length === asked.length) break;
    }
    return this.#ofOthers([...answersIn(objects), ...answers]);
  }

  async #answers(asked: readonly Target[]): Promise<VipAnswer[]> {
    const { objects } = await this.#ip.run(asked.map(query), HANG_MS);
    return answersIn(objects);
  }

  /** An address of this host answers by another of its own interfaces, where both are on one network. */
  async #ofOthers(answers: VipAnswer[]): Promise<VipAnswer[]> {
    if (answers.length === 0) return answers;
    const { objects } = await this.#ip.run(['addr show'], HANG_MS);
    const own = new Set(objects.map(({ address }) => address));
    return answers.filter(({ by }) => !own.has(by));
  }
}

/** Whether an interface is there and has that family, see ip-sysctl in the kernel's documentation. */
function hasFamily(device: string, family: 4 | 6): boolean {
  try {
    const name = family === 4 ? 'forwarding' : 'disable_ipv6';
    const value = readFileSync(`/proc/sys/net/ipv${family}/conf/${device}/${name}`, 'utf8').trim();
    return family === 4 || value === '0';
  } catch {
    return false;
  }
}

interface Target {
  readonly address: string;
  readonly device: string;
}

function query({ address, device }: Target): string {
  return `neigh show to ${address} dev ${device}`;
}

function answersIn(objects: IpAnswer['objects']): VipAnswer[] {
  return objects.flatMap(({ dst, lladdr, state }) => {
    const byHand = Array.isArray(state) && state.some((word) => BY_HAND.includes(word));
    return typeof dst !== 'string' || typeof lladdr !== 'string' || byHand
      ? []
      : [{ address: dst, by: lladdr }];
  });
}

function targets(vips: readonly VipConfig[], neighbours: readonly string[]): Target[] {
  const asked = vips.filter(({ provider, interface: device }) => provider === 'interface' && device !== 'lo');
  const all = asked.flatMap(({ address, interface: device, family }) => [
    { address, device },
    ...neighbours.filter((it) => it.includes(':') === (family === 6)).map((it) => ({ address: it, device })),
  ]);
  return [...new Map(all.map((it) => [`${it.address} ${it.device}`, it])).values()];
}
