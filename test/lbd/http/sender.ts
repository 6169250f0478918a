import { ADD_ALL, forwardedLines } from '../../../lbd/http/forwarded-fields.ts';
import type { Sender } from '../../../lbd/http/h1/request-head.ts';

const CLIENT = { address: '192.0.2.1', scheme: 'http' } as const;

/** Who sends a request, as its head needs it. */
export const SENDER: Sender = {
  ...CLIENT,
  identity: '',
  loopLine: '',
  forwarded: forwardedLines(ADD_ALL, 'nothing', CLIENT, CLIENT.address),
  believed: 'nothing',
  added: ADD_ALL,
};
