import type { Fault } from './fault.ts';
import { FAULTS_OF_HELPERS } from './faults-of-helpers.ts';
import { FAULTS_OF_NETWORKS } from './faults-of-networks.ts';
import { FAULTS_OF_OPERATORS } from './faults-of-operators.ts';
import { FAULTS_OF_PROCESSES } from './faults-of-processes.ts';

/** All that may go wrong, with what it may cost. */
export const FAULTS: readonly Fault[] = [
  ...FAULTS_OF_PROCESSES,
  ...FAULTS_OF_NETWORKS,
  ...FAULTS_OF_HELPERS,
  ...FAULTS_OF_OPERATORS,
];
