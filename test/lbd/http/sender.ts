import { forwardedLines } from '../../../lbd/http/h1/request-head.ts';

/** Who sends a request, as its head needs it. */
export const SENDER = {
  address: '192.0.2.1',
  scheme: 'http',
  identity: '',
  loopLine: '',
  forwarded: forwardedLines('192.0.2.1', 'http'),
} as const;
