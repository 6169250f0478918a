import { answerConfig } from '../../../common/config-process.ts';

// Without the keys and certificates that lbd reads: the helper has no right to them.
await answerConfig((config) => config);
