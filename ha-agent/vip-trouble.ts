import { OperatorError } from '../common/errors.ts';
import type { IpAnswer } from './ip-batch.ts';

/** What went wrong in an answer of `ip`, to follow a statement; empty: nothing. */
export function causeOf({ errors }: IpAnswer): string {
  return errors.length > 0 ? `: ${errors.join('; ')}` : '';
}

/** The host was asked. @param names of addresses @param what completes "192.0.2.1/24 dev eth1 …" */
export function vipFailure(names: readonly string[], what: string, answer: IpAnswer): OperatorError {
  return new OperatorError('VIP_FAILED', `${names.join(', ')} ${what}${causeOf(answer)}`);
}

/** It is not known what is there. */
export function notListed(answer: IpAnswer): OperatorError {
  return new OperatorError('IP_FAILED', `ip did not list the addresses${causeOf(answer)}`);
}
