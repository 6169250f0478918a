import { loadConfig } from '../../../common/config.ts';
import { answerConfig } from '../../../common/config-process.ts';

// Without the keys and certificates that lbd reads: the helper has no right to them.
await answerConfig(async (file, node) => loadConfig(file, { node }));
